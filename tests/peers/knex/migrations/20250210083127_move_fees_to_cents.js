exports.up = async (knex) => {
  // Run twice, fees are double and every depot has two entries.
  await knex.raw('UPDATE depots SET fee_cents = fee_cents + (fee * 100)::integer');
  await knex.raw("INSERT INTO entries (depot_id, text) SELECT id, 'fee moved to cents' FROM depots ORDER BY id");
  // Stands for the time that a table of real size takes.
  await knex.raw('SELECT pg_sleep(0.5)');
};

exports.down = async (knex) => {
  await knex.raw("DELETE FROM entries WHERE text = 'fee moved to cents'");
  await knex.raw('UPDATE depots SET fee_cents = fee_cents - (fee * 100)::integer');
};
