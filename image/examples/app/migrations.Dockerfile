# An image of the migrations alone: schemagate and the folder. It changes when the folder does, and the Job, the init container
# or the sidecar that runs it needs nothing mounted.
ARG SCHEMAGATE_IMAGE=schemagate:dev
FROM ${SCHEMAGATE_IMAGE}
COPY drizzle /migrations
