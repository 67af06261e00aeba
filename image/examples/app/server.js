// An application like yours: it takes for granted that the tables are there, and never makes them.
import { createServer } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
// A connection that broke while it was idle is replaced at the next query.
pool.on('error', (error) => console.error(error.message));

const server = createServer(async (_request, response) => {
  try {
    const { rows } = await pool.query('select id, title, pinned from notes order by id');
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify(rows)}\n`);
  } catch (error) {
    response.statusCode = 500;
    response.end(`${error.message}\n`);
  }
});
server.listen(3000);
process.on('SIGTERM', () => server.close(() => pool.end()));
