import Video

/// A small picture that stands for a video.
public enum Thumbnail {
    /// Shrinks by the smallest whole factor that makes both sides `maximumSide` at most, each pixel the mean of those it
    /// covers; pixels left over at the right and lower edges are cut off. A frame that fits stays as it is.
    ///
    /// - Parameter maximumSide: in pixels, 1 at least.
    public static func make(_ frame: Frame, maximumSide: Int = 320) -> Frame {
        let (width, height) = (frame.size.width, frame.size.height)
        let side = max(maximumSide, 1)
        let factor = (max(width, height) + side - 1) / side
        // A side shorter than the factor would vanish: it becomes one pixel, the mean of what there is.
        guard factor > 1, let size = Size(width: max(width / factor, 1), height: max(height / factor, 1)) else {
            return frame
        }
        let (across, down) = (min(factor, width), min(factor, height))
        var pixels: [UInt8] = []
        pixels.reserveCapacity(size.pixels * 3)
        for top in 0..<size.height {
            for left in 0..<size.width {
                for channel in 0..<3 {
                    var sum = 0
                    for y in top * down..<(top + 1) * down {
                        for x in left * across..<(left + 1) * across {
                            sum += Int(frame.pixels[(y * width + x) * 3 + channel])
                        }
                    }
                    pixels.append(UInt8((sum + across * down / 2) / (across * down)))
                }
            }
        }
        return Frame(size: size, pixels: pixels)
    }
}
