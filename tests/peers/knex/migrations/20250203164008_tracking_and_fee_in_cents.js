exports.up = async (knex) => {
  await knex.schema.alterTable('parcels', (table) => {
    table.text('tracking');
  });
  await knex.schema.alterTable('depots', (table) => {
    table.integer('fee_cents').notNullable().defaultTo(0);
  });
};

exports.down = async (knex) => {
  await knex.schema.alterTable('depots', (table) => {
    table.dropColumn('fee_cents');
  });
  await knex.schema.alterTable('parcels', (table) => {
    table.dropColumn('tracking');
  });
};
