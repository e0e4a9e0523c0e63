# The control plane and its worker: one image, two commands (see compose.yaml).
# Built from the repository's root: docker build -f docker/control_plane.Dockerfile .
FROM python:3.11-slim-bookworm AS build

WORKDIR /opt/yumen
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes \
        -r requirements/build.txt -r requirements/runtime.txt
COPY pyproject.toml setup.cfg ./
COPY control_plane control_plane
# Editable, because the product runs from its own tree: config/ and templates/ stand beside it.
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .


FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --home-dir /var/lib/yumen yumen \
    && install -d -o yumen -g yumen -m 700 \
        /var/lib/yumen /run/secrets/control-plane /run/secrets/gateway
COPY --from=build /opt/yumen /opt/yumen
WORKDIR /opt/yumen
COPY config config
COPY openresty openresty
COPY templates templates

ENV PATH=/opt/yumen/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8081
CMD ["yumen", "exec", "control-plane", "--state", "/var/lib/yumen"]
