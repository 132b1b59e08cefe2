// Draws the panels in PANELS, which an earlier script of the page defines, with uPlot.

const COLORS = ["#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#96D98D", "#FFB357", "#6ED0E0", "#E0B400", "#CA95E5"];
const GRID = "#2b2e34";
const GROUND = [24, 27, 31];

// Readable distances between the ticks of an axis, for each unit.
const STEPS = {
  s: [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400],
  bytes: Array.from({ length: 40 }, (_none, power) => 2 ** power),
};
STEPS.Bps = STEPS.bytes;

// Returns the opaque color that a translucent one has on the background, so that an area hides what is below it.
function solid(color, share) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return `rgb(${parts.map((part, number) => Math.round(part * share + GROUND[number] * (1 - share))).join(",")})`;
}

function formatted(unit, value) {
  if (value === null) return "";
  const size = Math.abs(value);
  const digits = (number) => String(+number.toPrecision(3));
  switch (unit) {
    case "percentunit": return `${digits(value * 100)} %`;
    case "s":
      if (size === 0) return "0 s";
      if (size < 0.001) return `${digits(value * 1e6)} µs`;
      if (size < 1) return `${digits(value * 1000)} ms`;
      if (size < 120) return `${digits(value)} s`;
      if (size < 7200) return `${digits(value / 60)} min`;
      return `${digits(value / 3600)} h`;
    case "bytes": case "Bps": {
      const end = unit === "Bps" ? "/s" : "";
      for (const [limit, name] of [[1 << 30, "GiB"], [1 << 20, "MiB"], [1 << 10, "KiB"]])
        if (size >= limit) return `${digits(value / limit)} ${name}${end}`;
      return `${digits(value)} B${end}`;
    }
    case "suffix:/min": return `${digits(value)} /min`;
    default: return digits(value);
  }
}

function stacked(series) {
  const sums = series[0] ? series[0].map(() => 0) : [];
  return series.map((values) => values.map((value, at) => (value === null ? null : (sums[at] += value))));
}

function range(panel) {
  return (_plot, low, high) => {
    if (low === null || high === null) return [0, 1];
    let bottom = panel.lowest === null ? low : Math.min(low, panel.lowest);
    let top = panel.highest === null ? high : Math.max(high, panel.highest);
    if (panel.limit !== null && panel.limit < top * 2) top = Math.max(top, panel.limit * 1.05);
    if (top === bottom) top = bottom + (bottom === 0 ? 1 : Math.abs(bottom) * 0.2);
    const room = (top - bottom) * 0.08;
    return [bottom < 0 ? bottom - room : bottom, top + room];
  };
}

function draw(panel) {
  const place = document.getElementById(`panel-${panel.id}`);
  const lines = panel.stacked ? stacked(panel.series) : panel.series;
  const order = lines.map((_values, number) => number);
  // The largest sum is drawn first, and the others on top of it.
  if (panel.stacked) order.reverse();
  const series = order.map((number) => ({
    stroke: COLORS[number % COLORS.length],
    fill: panel.stacked ? solid(COLORS[number % COLORS.length], 0.45) : COLORS[number % COLORS.length] + "14",
    width: 1.5,
    points: { show: false },
    spanGaps: false,
  }));
  new uPlot(
    {
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: true, range: () => [panel.times[0], panel.times[panel.times.length - 1]] }, y: { range: range(panel) } },
      axes: [
        { stroke: "#8e8ea0", grid: { stroke: GRID, width: 1 }, ticks: { show: false }, font: "11px DejaVu Sans", size: 24, space: 70,
          values: (_plot, ticks) => ticks.map((tick) => new Date(tick * 1000).toISOString().slice(11, 19)) },
        { stroke: "#8e8ea0", grid: { stroke: GRID, width: 1 }, ticks: { show: false }, font: "11px DejaVu Sans", size: 68, space: 28, incrs: STEPS[panel.unit],
          values: (_plot, ticks) => ticks.map((tick) => formatted(panel.unit, tick)) },
      ],
      series: [{}, ...series],
      hooks: { draw: [(drawn) => limitLine(drawn, panel)] },
    },
    [panel.times, ...order.map((number) => lines[number])],
    place,
  );
}

function limitLine(plot, panel) {
  if (panel.limit === null || panel.limit > plot.scales.y.max) return;
  const y = plot.valToPos(panel.limit, "y", true);
  plot.ctx.save();
  plot.ctx.strokeStyle = "#F2495C";
  plot.ctx.setLineDash([6, 5]);
  plot.ctx.lineWidth = 1.5;
  plot.ctx.beginPath();
  plot.ctx.moveTo(plot.bbox.left, y);
  plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
  plot.ctx.stroke();
  plot.ctx.restore();
}

for (const panel of PANELS) {
  if (panel.stats) {
    for (const [number, value] of panel.stats.entries())
      document.getElementById(`stat-${panel.id}-${number}`).textContent = value.text ?? formatted(panel.unit, value.value);
    continue;
  }
  const legend = document.getElementById(`legend-${panel.id}`);
  panel.legends.forEach((text, number) => {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.background = COLORS[number % COLORS.length];
    entry.append(mark, text);
    legend.append(entry);
  });
}
// Plots are drawn last, because only now do they have their final size.
for (const panel of PANELS) if (panel.series && panel.series.length) draw(panel);
