// What is looked at: exchange, symbol and timeframe. They stand in the address, to be sent to others.

const PARTS = ["exchange", "symbol", "timeframe"];

export function fromAddress() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(PARTS.map((part) => [part, query.get(part)]));
}

export function toAddress(chosen) {
  const query = new URLSearchParams(PARTS.map((part) => [part, chosen[part]]));
  history.replaceState(history.state, "", `${location.pathname}?${query}`);
}

// The instrument that was wished for, else the nearest: the symbol elsewhere, or the exchange's
// instrument with most trades. Undefined only where there are none.
export function nearest(instruments, wish) {
  const byTrades = [...instruments].sort((a, b) => b.trades - a.trades);
  const like = (...parts) => byTrades.find((one) => parts.every((part) => one[part] === wish[part]));
  return like("exchange", "symbol") ?? like("exchange") ?? like("symbol") ?? byTrades[0];
}
