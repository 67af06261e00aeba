exports.up = async (knex) => {
  await knex.schema.createTable('depots', (table) => {
    table.integer('id').primary();
    table.text('name').notNullable().unique();
    table.decimal('fee', 8, 2).notNullable();
  });
  await knex.schema.createTable('parcels', (table) => {
    table.bigIncrements('id');
    table.integer('depot_id').notNullable().references('depots.id');
    table.text('receiver').notNullable();
    table.timestamp('received_at').notNullable().defaultTo(knex.fn.now());
  });
  // No unique key on purpose: an entry booked twice stays to be seen.
  await knex.schema.createTable('entries', (table) => {
    table.bigIncrements('id');
    table.integer('depot_id').notNullable().references('depots.id');
    table.text('text').notNullable();
    table.timestamp('booked_at').notNullable().defaultTo(knex.fn.now());
  });
  await knex('depots').insert([
    { id: 1, name: 'harbour', fee: '12.00' },
    { id: 2, name: 'station', fee: '8.50' },
    { id: 3, name: 'airport', fee: '31.20' },
  ]);
};

exports.down = async (knex) => {
  await knex.schema.dropTable('entries');
  await knex.schema.dropTable('parcels');
  await knex.schema.dropTable('depots');
};
