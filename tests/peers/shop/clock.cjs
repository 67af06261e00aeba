// Moves drizzle-kit's clock to SHOP_NOW, so that the folders look like months of work instead of one busy second.
const shift = Date.parse(process.env.SHOP_NOW) - Date.now();
const RealDate = Date;

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + shift);
    else super(...args);
  }
  static now() {
    return RealDate.now() + shift;
  }
};
