# The image of `segqa serve`, of the Celery workers and of beat: one image, three commands (docker-compose.yml).
#
#   docker build -t segqa:local .
#
# 3.11.17: the lowest Python that segqa supports, at a patch release; slim: no compilers. Everything segqa needs has
# binary wheels, so that no stage needs build tools and the last has neither pip in its environment nor any source.
ARG PYTHON_IMAGE=python:3.11.17-slim
# 20.20.2: npm brings the viewer's package, and nothing of Node.js gets into the image.
ARG NODE_IMAGE=node:20.20.2-slim

FROM ${NODE_IMAGE} AS viewer
WORKDIR /viewer
# The version that `segqa viewer install` knows, whose hash it checks.
RUN npm pack --silent @ohif/app@3.12.10

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY segqa_dicom segqa_dicom
COPY workers workers
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM ${PYTHON_IMAGE} AS install
COPY --from=wheel /wheel /wheel
RUN python -m venv --without-pip /opt/segqa \
 && pip --python /opt/segqa/bin/python install --no-cache-dir --no-compile --only-binary :all: \
      "$(ls /wheel/segqa-*.whl)[deploy]"
# Image layers keep times in whole seconds; Python and numba compare the time of a source with that of what they compiled.
# So the times are made whole first, and only then is anything compiled.
RUN find /opt/segqa -exec touch --no-dereference --date="@$(date +%s)" {} + \
 && python -m compileall -q -j 0 /opt/segqa/lib
# One small review compiles all kernels but those of pictures. They are for the kind of processor that builds the image;
# on another kind the first case compiles them again (about 20 s) and the volume of NUMBA_CACHE_DIR keeps them.
RUN NUMBA_CACHE_DIR=/kernels /opt/segqa/bin/segqa demo --out /tmp/demo \
 && NUMBA_CACHE_DIR=/kernels /opt/segqa/bin/python -c \
      "from segqa_dicom.pictures.open_case import compile_kernels; compile_kernels()" \
 && rm -r /tmp/demo

COPY --from=viewer /viewer /viewer
RUN /opt/segqa/bin/segqa viewer install --from "$(ls /viewer/*.tgz)" --to /opt/viewer

FROM ${PYTHON_IMAGE} AS run
# Fixed numbers: volumes keep their owner from one image to the next, and hosts can grant rights to them.
RUN groupadd --gid 10001 segqa \
 && useradd --uid 10001 --gid segqa --no-create-home --home-dir /var/lib/segqa --shell /usr/sbin/nologin segqa \
 && install --directory --owner=segqa --group=segqa --mode=0750 /var/lib/segqa /var/lib/segqa/tmp /var/cache/segqa
COPY --from=install /opt/segqa /opt/segqa
COPY --from=install /opt/viewer /opt/viewer
COPY --from=install --chown=segqa:segqa /kernels /var/cache/segqa/kernels
# TCP_NODELAY: DCMTK programs started in this container answer C-STORE at once instead of after 45 ms.
# The thread counts: one case is one process; more threads than that only take the cores from other cases.
ENV PATH=/opt/segqa/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/segqa/kernels \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    TCP_NODELAY=1 \
    TMPDIR=/var/lib/segqa/tmp \
    SEGQA_ARCHIVE=/var/lib/segqa/archive \
    SEGQA_DATA=/var/lib/segqa/data \
    SEGQA_VIEWER=/opt/viewer
USER 10001:10001
WORKDIR /var/lib/segqa
VOLUME ["/var/lib/segqa", "/var/cache/segqa"]
EXPOSE 8080 11112
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# SIGTERM ends intake first and lets running cases hand back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["segqa"]
CMD ["serve", "--host", "0.0.0.0", "--dicom-port", "11112", "--http-port", "8080"]
