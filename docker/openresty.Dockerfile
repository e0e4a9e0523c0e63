# A gateway node: nginx and the shipper, one image, two commands (see compose.yaml).
# Built from the repository's root: docker build -f docker/openresty.Dockerfile .
FROM openresty/openresty:1.27.1.2-4-bookworm-fat AS base

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*


FROM base AS build

WORKDIR /opt/yumen
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes \
        -r requirements/build.txt -r requirements/runtime.txt
COPY pyproject.toml setup.cfg ./
COPY control_plane control_plane
# Editable, because the product runs from its own tree: openresty/ and templates/ stand beside it.
RUN .venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable .


FROM base

RUN useradd --system --uid 10001 --home-dir /var/lib/yumen yumen \
    && install -d -o yumen -g yumen -m 700 /var/lib/yumen /run/secrets/gateway
COPY --from=build /opt/yumen /opt/yumen
WORKDIR /opt/yumen
COPY config config
COPY openresty openresty
COPY templates templates

# The base image's nginx stands where Debian's does not.
ENV PATH=/opt/yumen/.venv/bin:/usr/local/openresty/nginx/sbin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGQUIT
CMD ["yumen", "exec", "nginx", "--state", "/var/lib/yumen"]
