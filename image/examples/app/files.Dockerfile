# Nothing but the folder, to be mounted as an image volume beside the image of schemagate: an image that cannot run anything.
FROM scratch
COPY drizzle /
