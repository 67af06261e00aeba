# The image around a binary that is there already: `make image`, for machines that can pull no base image, and with builders of
# any age. What follows FROM is the last stage of Dockerfile, and a test holds the two together.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="schemagate" \
      org.opencontainers.image.description="Waits for PostgreSQL, lets exactly one of many pods migrate, and tells Kubernetes the truth about the schema" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY schemagate /schemagate
USER 65532:65532
EXPOSE 9911
ENTRYPOINT ["/schemagate"]
CMD ["migrate"]
