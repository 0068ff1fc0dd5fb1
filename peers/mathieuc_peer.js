/** @mathieuc/tradingview on the market server. */
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const market = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { expected } = market;
const { history, beyond_5000: beyond5000, ranges } = expected;
const DEADLINE_MS = 30000;

// --- the address -------------------------------------------------------------------------------------------------

// It stands inside the constructor, so the WebSocket class that the package requires is given another one.
const inFolder = createRequire(path.join(__dirname, '..', '.venv-peers', 'mathieuc', 'package.json'));
const inPackage = createRequire(inFolder.resolve('@mathieuc/tradingview'));
const WebSocket = inPackage('ws');
let address;
inPackage.cache[inPackage.resolve('ws')].exports = class extends WebSocket {
  constructor(url, options) {
    assert.strictEqual(url, 'wss://data.tradingview.com/socket.io/websocket?type=chart');
    super(`${address}?type=chart`, options);
  }
};
inPackage('axios').interceptors.request.use((request) => {
  assert(request.url.startsWith(market.http_url), `${request.url} is asked for`);
  return request;
});
const { Client, BuiltInIndicator } = inFolder('@mathieuc/tradingview');

// --- running -----------------------------------------------------------------------------------------------------

const scenarios = {};

/** Adds a scenario with a client of its own; it fails by an error that nobody listens for, too. */
function scenario(name, check, { url = market.ws_url, ...options } = {}) {
  scenarios[name] = async () => {
    address = url;
    const client = new Client(options);
    let timer;
    try {
      await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error('no answer')), DEADLINE_MS);
        client.onError((...args) => reject(new Error(args.join(' '))));
        check(client).then(resolve, reject);
      });
    } finally {
      clearTimeout(timer);
      await client.end();
    }
  };
}

/** Resolves once a chart has what is asked for; rejects with its first error. */
function until(chart, isThere) {
  return new Promise((resolve, reject) => {
    chart.onError((...args) => reject(new Error(args.join(' '))));
    chart.onUpdate(() => { if (isThere()) resolve(); });
  });
}

async function open(client, { symbol, interval }, range, options = {}) {
  const chart = new client.Session.Chart();
  chart.setMarket(symbol, { timeframe: interval, range, ...options });
  await until(chart, () => chart.periods.length >= Math.abs(range));
  return chart;
}

/** The package rounds volume to cents; where there is none it computes NaN. */
const cents = (volume) => (volume === null || Number.isNaN(volume) ? null : Math.round(volume * 100) / 100);
const rows = (chart) => [...chart.periods].reverse()
  .map((p) => [p.time, p.open, p.max, p.min, p.close, cents(p.volume)]);

function assertSame(got, bars, what = '') {
  assert.strictEqual(got.length, bars.length, `${what}: ${got.length} bars instead of ${bars.length}`);
  bars.forEach((bar, index) => {
    assert.deepStrictEqual(got[index], [...bar.slice(0, 5), cents(bar[5])], `${what}: ${got[index]} instead of ${bar}`);
  });
}

// --- scenarios ---------------------------------------------------------------------------------------------------

scenario('history by count', async (client) => {
  for (const [name, item] of Object.entries(history)) {
    const chart = await open(client, item, item.count);
    assertSame(rows(chart), item.bars, name);
    assert.strictEqual(chart.infos.pro_name, item.symbol);
    chart.delete();
  }
});

scenario('history beyond 5,000 bars', async (client) => {
  assertSame(rows(await open(client, beyond5000, beyond5000.count)), beyond5000.bars);
});

scenario('fetchMore', async (client) => {
  const chart = await open(client, history.hours, 100);
  for (const total of [150, 250, 400]) {
    chart.fetchMore(total - chart.periods.length);
    await until(chart, () => chart.periods.length >= total);
    assertSame(rows(chart), history.hours.bars.slice(-total));
  }
});

scenario('range', async (client) => {
  const { bars } = ranges.days;
  const before = await open(client, ranges.days, 50, { to: bars[3000][0] });
  assertSame(rows(before), bars.slice(2951, 3001), 'before a moment');
  const after = await open(client, ranges.days, -50, { to: bars[3000][0] });
  assertSame(rows(after), bars.slice(3000, 3050), 'after a moment');
});

scenario('another timeframe and market', async (client) => {
  const { symbol, interval, bars } = history.hours;
  const chart = await open(client, { symbol, interval: '5' }, 100);
  chart.setSeries(interval);
  await until(chart, () => chart.periods.length >= 100);
  assertSame(rows(chart), bars.slice(-100), 'another timeframe');
  const other = history['an ampersand'];
  chart.setMarket(other.symbol, { timeframe: other.interval });
  await until(chart, () => chart.infos.pro_name === other.symbol && chart.periods.length >= 100);
  assertSame(rows(chart), other.bars.slice(-100), 'another market');
});

scenario('many series over one connection', async (client) => {
  await Promise.all(Object.entries(history).map(async ([name, item]) => {
    assertSame(rows(await open(client, item, item.count)), item.bars, name);
  }));
});

scenario('time zone', async (client) => {
  const chart = new client.Session.Chart();
  chart.setTimezone('Asia/Tokyo');
  chart.setMarket(history.hours.symbol, { timeframe: history.hours.interval, range: 10 });
  await until(chart, () => chart.periods.length >= 10);
  assertSame(rows(chart), history.hours.bars.slice(-10));
});

scenario('bar stream', async (client) => {
  const { symbol, interval, bars } = expected.live;
  const chart = await open(client, { symbol, interval }, 10);
  await until(chart, () => chart.periods.length >= 14);
  const closed = rows(chart).slice(0, -1);
  const wanted = new Map(bars.map((bar) => [bar[0], bar]));
  assertSame(closed, closed.map((_, index) => wanted.get(closed[0][0] + 60 * index)));
}, { url: market.live_ws_url });

/** The first answer of a quote session that has a price. */
function quoteOf(client, symbol, fields) {
  return new Promise((resolve, reject) => {
    const quote = new (new client.Session.Quote({ fields })).Market(symbol);
    quote.onError((...args) => reject(new Error(JSON.stringify(args))));
    quote.onData((values) => { if (values.lp !== undefined) resolve(values); });
  });
}

scenario('quotes', async (client) => {
  const price = expected.quotes['NASDAQ:AAPL'];
  const all = await quoteOf(client, 'NASDAQ:AAPL', 'all');
  assert.deepStrictEqual([all.lp, all.pro_name], [price, 'NASDAQ:AAPL']);
  assert.deepStrictEqual(await quoteOf(client, 'NASDAQ:AAPL', 'price'), { lp: price });
});

scenario('quotes of many symbols', async (client) => {
  const symbols = Object.keys(expected.quotes);
  const quotes = await Promise.all(symbols.map((symbol) => quoteOf(client, symbol, 'all')));
  assert.deepStrictEqual(quotes.map(({ lp }) => lp), Object.values(expected.quotes));
});

async function assertRefused(client, symbol, timeframe, reason, timezone = '') {
  const chart = new client.Session.Chart();
  const errors = await new Promise((resolve) => {
    chart.onError((...args) => resolve(args.join(' ')));
    chart.setMarket(symbol, { timeframe });
    if (timezone) chart.setTimezone(timezone);
  });
  assert(errors.includes(reason), errors);
}

scenario('unknown symbol', (client) => assertRefused(client, expected.unknown, 'D', 'invalid symbol'));
scenario('denied symbol', (client) => assertRefused(client, expected.denied, 'D', 'permission denied'));
scenario('unknown interval', (client) => assertRefused(client, 'NASDAQ:AAPL', 'XX', 'invalid parameters'));
scenario('denied interval', (client) => assertRefused(client, 'NASDAQ:AAPL', '10S', 'seconds_not_entitled'));
scenario('unknown time zone', (client) => assertRefused(client, 'NASDAQ:AAPL', 'D', 'invalid timezone', 'No/Where'));

const cookies = { token: expected.session, signature: 'v3:signature', location: `${market.http_url}/` };
scenario('signed in by cookies', async (client) => {
  const { bars } = history.minutes; // all that an anonymous account sees
  const got = rows(await open(client, history.minutes, 6000));
  assert.strictEqual(got.length, 6000);
  assertSame(got.slice(-bars.length), bars);
}, cookies);

scenario('study', async (client) => {
  const { symbol, interval, bars } = history.hours;
  const chart = new client.Session.Chart();
  chart.setMarket(symbol, { timeframe: interval, range: 50 });
  const study = new chart.Study(new BuiltInIndicator('Volume@tv-basicstudies-241'));
  await new Promise((resolve, reject) => {
    study.onError((...args) => reject(new Error(args.join(' '))));
    study.onUpdate(() => { if (study.periods.length >= 50) resolve(); });
  });
  const volumes = study.periods.map((p) => p.Volume ?? p.volume ?? p.plot_0).reverse();
  assert.deepStrictEqual(volumes, bars.slice(-50).map((bar) => bar[5]));
});

(async () => {
  for (const [name, run] of Object.entries(scenarios)) {
    const started = Date.now();
    let why = '';
    try {
      await run();
    } catch (error) {
      why = String(error.message) || String(error);
    }
    console.log(JSON.stringify({ scenario: name, seconds: (Date.now() - started) / 1000, why }));
  }
  process.exit(0);
})();
