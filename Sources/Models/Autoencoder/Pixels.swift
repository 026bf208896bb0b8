/// Channels first to channels last: `source` is `[channels, pixels]` with `channelStride` floats between channels.
func interleave(
    _ source: UnsafePointer<Float>, channels: Int, channelStride: Int, pixels: Int,
    into target: UnsafeMutablePointer<Float>
) {
    for channel in 0..<channels {
        let plane = source + channel * channelStride
        for pixel in 0..<pixels { target[pixel * channels + channel] = plane[pixel] }
    }
}

/// torch's `PixelShuffle` of three colours, channels last: `source` is `[height, width, 3 * factor * factor]`. `write`
/// gets every value of `[height * factor, width * factor, 3]` with its index.
func shufflePixels(
    _ source: UnsafePointer<Float>, height: Int, width: Int, factor: Int,
    _ write: (_ index: Int, _ value: Float) -> Void
) {
    forEachPixel(height: height, width: width, factor: factor) { write($0, source[$1]) }
}

/// torch's `PixelUnshuffle` of three colours, channels last: `target` is `[height, width, 3 * factor * factor]`, `value`
/// gives that of an index into `[height * factor, width * factor, 3]`.
func unshufflePixels(
    height: Int, width: Int, factor: Int, into target: UnsafeMutablePointer<Float>, _ value: (_ index: Int) -> Float
) {
    forEachPixel(height: height, width: width, factor: factor) { target[$1] = value($0) }
}

/// Pairs each index into `[height * factor, width * factor, 3]` with that into `[height, width, 3 * factor * factor]`.
@inline(__always) private func forEachPixel(
    height: Int, width: Int, factor: Int, _ body: (_ spread: Int, _ gathered: Int) -> Void
) {
    let area = factor * factor
    for row in 0..<height * factor {
        for column in 0..<width * factor {
            let place = (row / factor * width + column / factor) * 3 * area + row % factor * factor + column % factor
            let index = (row * width * factor + column) * 3
            for colour in 0..<3 { body(index + colour, place + colour * area) }
        }
    }
}

/// 0...1 to 0...255, half to even; what lies outside is clamped, NaN is black.
func rounded(_ value: Float) -> UInt8 {
    guard value > 0 else { return 0 }
    return value >= 1 ? 255 : UInt8((value * 255).rounded(.toNearestOrEven))
}
