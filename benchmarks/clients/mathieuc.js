/** @mathieuc/tradingview over one connection, a chart for each symbol, no files: `node mathieuc.js WAY WORK`. */
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const work = JSON.parse(process.argv[3]);

// The address stands inside the constructor, so the WebSocket class that the package requires is given another one.
const inFolder = createRequire(path.join(__dirname, '..', '..', '.venv-peers', 'mathieuc', 'package.json'));
const inPackage = createRequire(inFolder.resolve('@mathieuc/tradingview'));
const WebSocket = inPackage('ws');
inPackage.cache[inPackage.resolve('ws')].exports = class extends WebSocket {
  constructor(url, options) {
    super(`${work.url}?type=chart`, options);
  }
};
const { Client } = inFolder('@mathieuc/tradingview');

(async () => {
  const began = process.cpuUsage();
  const started = performance.now();
  const client = new Client();
  const charts = work.symbols.map((symbol) => {
    const chart = new client.Session.Chart();
    chart.setMarket(symbol, { timeframe: '1', range: work.bars });
    return chart;
  });
  await Promise.all(charts.map((chart) => new Promise((resolve, reject) => {
    chart.onError((...args) => reject(new Error(args.join(' '))));
    chart.onUpdate(() => { if (chart.periods.length >= work.bars) resolve(); });
  })));
  const { user, system } = process.cpuUsage(began);
  console.log(JSON.stringify({
    wall: (performance.now() - started) / 1e3,
    cpu: (user + system) / 1e6,
    bars: charts.reduce((sum, chart) => sum + chart.periods.length, 0),
    mb: Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync('/proc/self/status', 'ascii'))[1]) / 1e3,
  }));
  await client.end();
  process.exit(0);
})();
