// The clip's player follows the links to its moments, and the chart shows where the player is.
if (!window.looktwiceClip) {
  window.looktwiceClip = true;
  let wanted = null;
  const player = () => document.querySelector('#clip video');
  const shown = () => Number((document.querySelector('#timeline [data-exchange]') || {dataset: {}}).dataset.exchange);
  const jump = (seconds) => {
    const video = player();
    if (!video) return;
    if (video.readyState > 0) video.currentTime = seconds;
    else video.addEventListener('loadedmetadata', () => { video.currentTime = seconds; }, {once: true});
  };
  const follow = (link) => {
    const [number, span, start] = link.getAttribute('href').split('LINK')[1].split('-').map(Number);
    if (number === shown()) jump(start / 1000);
    else wanted = {number, seconds: start / 1000};  // its clip is not in the player yet
    window.looktwiceJump(number, span);
  };
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[href*="LINK"]');
    if (!link) return;
    event.preventDefault();
    event.stopPropagation();
    follow(link);
  }, true);
  // a message opens its own evidence on Enter, which would come after the link's
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.closest('a[href*="LINK"]')) event.stopPropagation();
  }, true);
  document.addEventListener('click', (event) => {
    const frame = event.target.closest('#keys .thumbnail-item');
    const times = document.querySelector('#timeline [data-keys]');
    if (!frame || !times) return;
    const index = [...document.querySelectorAll('#keys .thumbnail-item')].indexOf(frame);
    const seconds = Number(times.dataset.keys.split(' ')[index]);
    if (Number.isFinite(seconds)) jump(seconds);
  });
  const mark = () => {
    const video = player(), line = document.querySelector('#timeline .now');
    const length = Number((document.querySelector('#timeline [data-seconds]') || {dataset: {}}).dataset.seconds);
    if (!video || !line || !length) return;
    line.hidden = !video.readyState;
    line.style.left = `${Math.min(100, 100 * video.currentTime / length)}%`;
  };
  ['timeupdate', 'seeking', 'seeked', 'loadedmetadata'].forEach((name) => document.addEventListener(name, () => {
    if (wanted && wanted.number === shown() && name === 'loadedmetadata') { jump(wanted.seconds); wanted = null; }
    mark();
  }, true));
}
window.looktwiceJump = (number, span) => trigger('select', {index: [number, span], value: ''});
