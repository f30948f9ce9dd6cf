// Loaded before everything else of a process: its wall clock is wrong by CLOCK_SHIFT_MS, its timers are not, as on a machine
// whose date was set by hand.
const shift = Number(process.env['CLOCK_SHIFT_MS'])
const TrueDate = Date

globalThis.Date = new Proxy(TrueDate, {
  apply: () => new TrueDate(TrueDate.now() + shift).toString(),
  construct: (target, args: [], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [TrueDate.now() + shift] : args, newTarget) as Date,
  get: (target, key, receiver) =>
    key === 'now' ? () => TrueDate.now() + shift : (Reflect.get(target, key, receiver) as unknown),
})
