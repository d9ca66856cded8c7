# The image of the waybill program: builds the release as anybody would (`make dist`) and copies what it made.
# Needs BuildKit (`docker build .`). Not built in this project's tests; the release that it copies is.
ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-${DEBIAN} AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake libssl-dev zlib1g-dev pkg-config
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/cache --mount=type=cache,target=/usr/local/cargo/registry \
    WAYBILL_CACHE=/cache make dist DIST=/dist && \
    mkdir /out && tar -xzf /dist/waybill-*.tar.gz -C /out --strip-components=1

FROM debian:${DEBIAN}-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /out/waybill /usr/local/bin/waybill
COPY --from=build /out/LICENSE /usr/share/doc/waybill/LICENSE
# A number, so that Kubernetes can see that it is not root; nobody by that number owns anything.
USER 10001:10001
ENTRYPOINT ["waybill"]
CMD ["--help"]
