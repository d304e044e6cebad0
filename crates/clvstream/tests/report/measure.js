// What a browser made of the page, told to the page around it as JSON.
const box = (element) => element.getBoundingClientRect();
const meet = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
const figures = [...document.querySelectorAll("figure")].map((figure) => {
  const svg = figure.querySelector(":scope > svg");
  const plot = box(svg);
  const texts = [...svg.querySelectorAll("text")];
  const said = (text) => text.textContent.trim();
  const overlapping = texts.flatMap((a, i) =>
    texts.slice(i + 1).filter((b) => meet(box(a), box(b))).map((b) => said(a) + " | " + said(b)));
  const outside = texts.filter((text) => {
    const { left, right, top, bottom } = box(text);
    return left < plot.left || right > plot.right || top < plot.top || bottom > plot.bottom;
  });
  const seen = svg.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  return {
    id: figure.id,
    width: plot.width,
    height: plot.height,
    seen,
    texts: texts.length,
    letters: Math.min(...texts.map((text) => Math.min(box(text).width, box(text).height))),
    overlapping,
    outside: outside.map(said),
  };
});
const page = document.documentElement;
parent.postMessage(JSON.stringify({ window: innerWidth, needed: page.scrollWidth, figures }), "*");
