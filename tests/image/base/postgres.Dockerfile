# Stands for the public image of PostgreSQL: Debian's own server, with the part of its interface that the examples use.
ARG BASE
FROM ${BASE}
ENV PGDATA=/var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown postgres: /var/lib/postgresql "$PGDATA"
COPY postgres-entrypoint /
USER postgres
VOLUME /var/lib/postgresql/data
EXPOSE 5432
# As there: a fast shutdown.
STOPSIGNAL SIGINT
ENTRYPOINT ["/postgres-entrypoint"]
CMD ["postgres"]
