// The real drizzle-orm migrator, as a team's own script calls it. Run with the package of one generation as working directory:
//
//   cd tests/peers/drizzle-classic && node ../migrate.mjs FOLDER URL
//
// Exit 0 when drizzle-orm is content; else 1 with SQLSTATE and message on stderr.
import { createRequire } from 'node:module';
import path from 'node:path';

const [folder, url] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), 'package.json'));
const { drizzle } = require('drizzle-orm/node-postgres');
const { migrate } = require('drizzle-orm/node-postgres/migrator');
const { Client } = require('pg');

const client = new Client({ connectionString: url });
try {
  await client.connect();
  await migrate(drizzle({ client }), { migrationsFolder: folder });
} catch (error) {
  const cause = error.cause ?? error;
  console.error(`${cause.code ?? 'no SQLSTATE'}: ${cause.message}`);
  process.exitCode = 1;
} finally {
  await client.end();
}
