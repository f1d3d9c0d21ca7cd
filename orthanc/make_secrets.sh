#!/bin/sh
# Makes the passwords of docker-compose.yml in ./secrets (or the folder given), one file each. What is there is kept:
# a changed password must be changed in the database and in Orthanc, too (docs/howto/deploy.md, "Secrets").
#
# The folder is for its owner only. The files are readable to all, because each container has its own user and
# compose passes files on with the rights they have; nobody else can enter the folder.
set -eu

folder=${1:-"$(dirname "$0")/../secrets"}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

password() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

write() { # write NAME CONTENT
  printf '%s\n' "$2" >"$1.new"
  chmod 444 "$1.new"
  mv "$1.new" "$1"
}

keep_or_make() { # keep_or_make NAME
  [ -s "$1" ] || write "$1" "$(password)"
}

keep_or_make postgres_password.txt
keep_or_make orthanc_database_password.txt
keep_or_make segqa_ledger_password.txt
keep_or_make segqa_broker_password.txt
keep_or_make segqa_archive_password.txt
keep_or_make viewer_password.txt
# What a proxy that signs people in proves itself with; empty as long as there is none (docs/howto/reviewing.md).
[ -e segqa_proxy_token.txt ] || write segqa_proxy_token.txt ""

# Orthanc reads its own form; it is made anew each time from the files above.
write orthanc.json "{
  \"RegisteredUsers\": {
    \"segqa\": \"$(cat segqa_archive_password.txt)\",
    \"viewer\": \"$(cat viewer_password.txt)\"
  },
  \"PostgreSQL\": { \"Password\": \"$(cat orthanc_database_password.txt)\" }
}"

echo "passwords are in $(pwd); people sign in to OHIF as viewer with what viewer_password.txt holds"
