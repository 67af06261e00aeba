// The schema of a small shop as it grew. `SHOP_STEP` says how far; generate.mjs runs the real drizzle-kit after each step.
import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  index,
  integer,
  jsonb,
  numeric,
  pgEnum,
  pgSchema,
  pgTable,
  pgView,
  primaryKey,
  serial,
  smallint,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
  varchar,
  type AnyPgColumn,
} from 'drizzle-orm/pg-core';

const step = Number(process.env.SHOP_STEP ?? '0');

/** Columns, constraints or objects that exist from one step on. */
const since = <T extends object>(first: number, what: () => T): T | Record<never, never> => (step >= first ? what() : {});
const some = <T>(first: number, what: () => T): T[] => (step >= first ? [what()] : []);

const moments = {
  createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
  updatedAt: timestamp('updated_at', { withTimezone: true }).notNull().defaultNow(),
};

// Step 5 adds a value to this type, step 6 is the first to use it.
export const orderStatus = pgEnum('order_status', [
  'pending',
  'paid',
  'shipped',
  ...some(5, () => 'refunded'),
] as [string, ...string[]]);

export const customers = pgTable(
  'customers',
  {
    id: serial('id').primaryKey(),
    email: varchar('email', { length: 320 }).notNull(),
    // Renamed in step 3.
    ...(step >= 3 ? { fullName: text('full_name').notNull() } : { name: text('name').notNull() }),
    ...since(8, () => ({ marketing: boolean('marketing').notNull().default(false) })),
    ...moments,
  },
  (t) => [uniqueIndex('customers_email_lower').on(sql`lower(${t.email})`)],
);

export const addresses = pgTable('addresses', {
  id: serial('id').primaryKey(),
  customerId: integer('customer_id')
    .notNull()
    .references(() => customers.id, { onDelete: 'cascade' }),
  line1: text('line1').notNull(),
  line2: text('line2'),
  city: text('city').notNull(),
  country: varchar('country', { length: 2 }).notNull().default("DE"),
});

export const categories = pgTable('categories', {
  id: serial('id').primaryKey(),
  parentId: integer('parent_id').references((): AnyPgColumn => categories.id),
  slug: text('slug').notNull().unique(),
  title: text('title').notNull(),
});

export const products = pgTable(
  'products',
  {
    id: serial('id').primaryKey(),
    sku: varchar('sku', { length: 40 }).notNull().unique('products_sku_unique'),
    title: text('title').notNull(),
    description: text('description').notNull().default("it's new; \"soon\" in stock"),
    categoryId: integer('category_id').references(() => categories.id),
    price: numeric('price', { precision: 12, scale: 2 }).notNull(),
    ...since(1, () => ({ tags: text('tags').array().notNull().default(sql`'{}'::text[]`) })),
    ...since(8, () => ({ attributes: jsonb('attributes').notNull().default({}) })),
    ...moments,
  },
  (t) => [
    index('products_category').on(t.categoryId),
    check('products_price_positive', sql`${t.price} >= 0`),
    ...some(1, () => index('products_tags').using('gin', t.tags as never)),
  ],
);

export const orders = pgTable(
  'orders',
  {
    id: uuid('id').primaryKey().defaultRandom(),
    customerId: integer('customer_id')
      .notNull()
      .references(() => customers.id),
    status: orderStatus('status').notNull().default('pending'),
    note: text('note'),
    ...since(8, () => ({ shippingAddressId: integer('shipping_address_id').references(() => addresses.id) })),
    ...moments,
  },
  (t) => [
    index('orders_customer_status').on(t.customerId, t.status),
    ...some(6, () => index('orders_refunded').on(t.updatedAt).where(sql`status = 'refunded'`)),
  ],
);

export const orderItems = pgTable(
  'order_items',
  {
    orderId: uuid('order_id')
      .notNull()
      .references(() => orders.id, { onDelete: 'cascade' }),
    productId: integer('product_id')
      .notNull()
      .references(() => products.id),
    quantity: smallint('quantity').notNull().default(1),
    unitPrice: numeric('unit_price', { precision: 12, scale: 2 }).notNull(),
    ...since(7, () => ({
      total: numeric('total', { precision: 14, scale: 2 }).generatedAlwaysAs(sql`quantity * unit_price`),
    })),
  },
  (t) => [primaryKey({ columns: [t.orderId, t.productId] })],
);

const newProductImages = () =>
  pgTable(
    'product_images',
    {
      id: serial('id').primaryKey(),
      productId: integer('product_id')
        .notNull()
        .references(() => products.id, { onDelete: 'cascade' }),
      url: text('url').notNull(),
      position: smallint('position').notNull().default(0),
    },
    (t) => [unique('product_images_position').on(t.productId, t.position)],
  );

// `reviews` becomes `product_reviews` in step 3.
const newReviews = () =>
  pgTable(
    step >= 3 ? 'product_reviews' : 'reviews',
    {
      id: serial('id').primaryKey(),
      productId: integer('product_id').notNull(),
      customerId: integer('customer_id').notNull(),
      stars: smallint('stars').notNull(),
      body: text('body'),
    },
    (t) => [check('reviews_stars', sql`stars between 1 and 5`), index('reviews_product').on(t.productId)],
  );

const newPaymentMethod = () => pgEnum('payment_method', ['card', 'sepa', 'invoice']);

const newPayments = (method: ReturnType<typeof newPaymentMethod>) =>
  pgTable('payments', {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    orderId: uuid('order_id')
      .notNull()
      .references(() => orders.id),
    method: method('method').notNull(),
    amount: numeric('amount', { precision: 14, scale: 2 }).notNull(),
    reference: text('reference').unique(),
    ...moments,
  });

const newRefunds = () =>
  pgTable('refunds', {
    id: serial('id').primaryKey(),
    orderId: uuid('order_id')
      .notNull()
      .references(() => orders.id),
    statusAfter: orderStatus('status_after').notNull().default('refunded'),
    reason: text('reason').notNull(),
  });

const newCoupons = () =>
  pgTable('coupons', {
    code: text('code').primaryKey(),
    percent: smallint('percent').notNull(),
    validUntil: timestamp('valid_until'),
  });

const newCarts = () =>
  pgTable('carts', {
    id: uuid('id').primaryKey().defaultRandom(),
    customerId: integer('customer_id').references(() => customers.id),
    couponCode: text('coupon_code').references((): AnyPgColumn => (coupons as ReturnType<typeof newCoupons>).code),
    lines: jsonb('lines').notNull().default([]),
  });

const newOrderTotals = () =>
  pgView('order_totals').as((qb) =>
    qb
      .select({ orderId: orderItems.orderId, total: sql<string>`sum(quantity * unit_price)`.as('total') })
      .from(orderItems)
      .groupBy(orderItems.orderId),
  );

const newWarehouse = () => pgSchema('warehouse');

const newStock = (warehouse: ReturnType<typeof newWarehouse>) =>
  warehouse.table(
    'stock',
    {
      productId: integer('product_id')
        .primaryKey()
        .references(() => products.id),
      onHand: integer('on_hand').notNull().default(0),
      reserved: integer('reserved').notNull().default(0),
    },
    () => [check('stock_reserved', sql`reserved <= on_hand`)],
  );

/** What is not there yet is exported as `undefined`, which drizzle-kit ignores. */
const from = <T>(first: number, what: () => T): T | undefined => (step >= first ? what() : undefined);

export const productImages = from(1, newProductImages);
export const reviews = from(1, newReviews);
export const paymentMethod = from(2, newPaymentMethod);
export const payments = paymentMethod && newPayments(paymentMethod);
export const refunds = from(6, newRefunds);
export const coupons = from(7, newCoupons);
export const carts = from(7, newCarts);
export const orderTotals = from(7, newOrderTotals);
export const warehouse = from(9, newWarehouse);
export const stock = warehouse && newStock(warehouse);
