// `knex migrate:latest` in this folder, the database in DATABASE_URL.
module.exports = {
  client: 'pg',
  connection: process.env.DATABASE_URL,
};
