// Discs as pixels: twenty thousand of them in a few milliseconds, with or without a graphics card.

/** A picture of discs on a canvas, in pixels of the screen. Colours are #rrggbb. */
export class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  resize(width, height) {
    this.canvas.width = this.width = width;
    this.canvas.height = this.height = height;
    this.image = this.context.createImageData(width, height);
    this.words = new Uint32Array(this.image.data.buffer); // a pixel each, as 0xAABBGGRR
  }

  clear(colour) {
    this.words.fill(word(colour));
  }

  /** Return how to draw discs of a radius and a colour: a function of their middle. */
  discs(radius, colour, opacity) {
    const { words, width, height } = this;
    const source = word(colour);
    const [red_blue, green] = [source & 0xff00ff, source & 0x00ff00];
    const reach = Math.ceil(radius);
    const side = 2 * reach + 1;
    const cover = Uint16Array.from({ length: side * side }, (_, place) => {
      const distance = Math.hypot((place % side) - reach, Math.floor(place / side) - reach);
      return Math.round(256 * opacity * Math.max(0, Math.min(1, radius + 0.5 - distance)));
    });
    return (left, top) => {
      const [x, y] = [Math.round(left) - reach, Math.round(top) - reach];
      const [first, last] = [Math.max(0, -x), Math.min(side, width - x)];
      const end = Math.min(side, height - y);
      for (let row = Math.max(0, -y); row < end; row++) {
        for (let column = first; column < last; column++) {
          const over = cover[row * side + column];
          if (over === 0) continue;
          const place = (y + row) * width + x + column;
          const under = words[place];
          const mixed = (((under & 0xff00ff) * (256 - over) + red_blue * over) >>> 8) & 0xff00ff;
          words[place] = 0xff000000 | mixed | ((((under & 0x00ff00) * (256 - over) + green * over) >>> 8) & 0x00ff00);
        }
      }
    };
  }

  show() {
    this.context.putImageData(this.image, 0, 0);
  }
}

function word(colour) {
  const number = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((number & 0xff) << 16) | (number & 0xff00) | (number >> 16)) >>> 0;
}
