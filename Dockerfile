# Two stages: the first has pip and makes a virtual environment from the lock file; the second is Python, that and the code.
FROM python:3.11-slim-bookworm AS build
WORKDIR /app

# Without pip inside, so that the image cannot install anything; only wheels, so that nothing is compiled.
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
        -r requirements/runtime.txt -r requirements/build.txt \
    # Runs code whenever Python starts, for a distutils that nobody here uses.
    && rm /opt/venv/lib/python*/site-packages/distutils-precedence.pth

COPY LICENSE pyproject.toml ./
COPY domain domain
COPY adapters adapters
COPY config config
COPY entrypoints entrypoints
# Byte code is written here, once, and never checked against the sources: the running container's files are read-only.
RUN pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation --no-index --editable . \
    && rm -rf requirements sluice.egg-info \
    && /opt/venv/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/venv/lib /app


FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    SLUICE_HOST=0.0.0.0
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app

# A number, so that an orchestrator can see that it is not root; it owns none of the files above.
USER 10001:10001
EXPOSE 8080
# Stops admitting, ends or finishes what is open, settles, exits.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('SLUICE_PORT', '8080') + '/healthz', timeout=2)"]
ENTRYPOINT ["sluice"]
CMD ["serve"]
