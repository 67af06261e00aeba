exports.up = async (knex) => {
  await knex.raw('ALTER TABLE depots ADD CONSTRAINT depots_fee_cents_not_negative CHECK (fee_cents >= 0)');
  await knex.schema.alterTable('depots', (table) => {
    table.dropColumn('fee');
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('depots', (table) => {
    table.decimal('fee', 8, 2);
  });
  await knex.raw('UPDATE depots SET fee = fee_cents / 100.0');
  await knex.raw('ALTER TABLE depots ALTER fee SET NOT NULL, DROP CONSTRAINT depots_fee_cents_not_negative');
};
