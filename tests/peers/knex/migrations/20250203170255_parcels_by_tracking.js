// Not in a transaction, which PostgreSQL does not allow for this. One such file, and knex runs none of the pending ones in a
// common transaction: each has its own.
exports.config = { transaction: false };

exports.up = (knex) => knex.raw('CREATE UNIQUE INDEX CONCURRENTLY parcels_tracking ON parcels (tracking)');

exports.down = (knex) => knex.raw('DROP INDEX CONCURRENTLY parcels_tracking');
