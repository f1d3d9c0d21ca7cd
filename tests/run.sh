#!/usr/bin/env bash
# Installs what the tests need and runs them: linters, types, tests. Further arguments go to pytest.
#   --quick   no servers, no browser, no Debian packages, no real data; within two minutes
#   (none)    all but the long ones, with real servers, validators and a browser
#   --long    load, fuzz, hundreds of cases
# Debian packages are installed with apt-get where they are missing (as root, or with sudo); in CI a missing one fails.
set -euo pipefail
cd "$(dirname "$0")/.."

tier=default
case "${1:-}" in
  --quick | --long) tier="${1#--}"; shift ;;
esac
case "$tier" in
  quick)   selection=(-m "not (servers or browser or shared or slow or long)") ;;
  default) selection=(-m "not long") ;;
  long)    selection=(-m "long or hypothesis" --hypothesis-profile long) ;;
esac

# Servers that a package starts on its own do no harm: tests start theirs, on free ports with folders of their own.
packages=(
  dcmtk dicom3tools libpixelmed-java default-jre-headless python3-venv
  orthanc orthanc-dicomweb redis-server postgresql docker-compose
  chromium curl procps
)
command -v npm >/dev/null || packages+=(npm)  # brings OHIF; may have come in another way than by apt
[ "$tier" != quick ] || packages=()
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  sudo=""; [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 2; }
if [ ! -x .venv/bin/python ]; then
  "$python" -m venv .venv
  .venv/bin/python -m pip install -q --upgrade pip
fi
.venv/bin/python -m pip install -q -e ".[test]"

.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
unset PYTHONDONTWRITEBYTECODE  # each of the many processes that tests start would compile every module again
.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder "${selection[@]}" "$@"
