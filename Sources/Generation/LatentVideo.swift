import Engine
import Jobs
import Models
import Video

/// A video as latent frames, normalised, `[channels, height, width]` each, in segments that are decoded each by itself.
///
/// A video has one segment until it is extended backwards: latent 0 of a segment stands for one frame alone, so that it can't
/// stand in the middle. The last frame of every segment but the last is dropped: the next segment's first stands for it.
struct LatentVideo {
    var segments: [[[Float]]]
    /// Those of the video that it leads to.
    private(set) var destination: [[[Float]]] = []
    /// Latent frames that were given to the observer.
    private var given = 0
    private let channels: Int
    private let height: Int
    private let width: Int

    /// What the request goes on from; one empty segment when that is nothing.
    init(_ request: VideoRequest, _ material: VideoMaterial, _ description: ModelDescription) throws {
        let shape = try description.latentShape(width: request.size.width, height: request.size.height, frames: 1)
        (channels, height, width) = (shape.channels, shape.height, shape.width)
        segments = [[]]
        guard let source = request.source else { return }
        let next = request.destination?.segments ?? []
        let own = source.segments.reduce(0, +) * shape.frameCount * MemoryLayout<Float>.stride
        segments = try Self.segments(source.segments, of: Array(material.latents.prefix(own)), shape)
        destination = try Self.segments(next, of: Array(material.latents.dropFirst(own)), shape)
    }

    /// Reads `[channels, frames, height, width]`, float32 little-endian.
    static func segments(
        _ counts: [Int], of latents: [UInt8], _ shape: LatentShape
    ) throws(GenerationError) -> [[[Float]]] {
        let total = counts.reduce(0, +)
        guard latents.count == total * shape.frameCount * MemoryLayout<Float>.stride else {
            throw .failed("\(latents.count) bytes of latents are not those of \(total) frames")
        }
        let area = shape.height * shape.width
        let channels = shape.channels
        var place = 0
        return latents.withUnsafeBytes { bytes in
            counts.map { count in
                defer { place += count }
                return (place..<place + count).map { frame in
                    (0..<channels * area).map { index in
                        let offset = (index / area * total + frame) * area + index % area
                        return Float(
                            bitPattern: UInt32(
                                littleEndian: bytes.loadUnaligned(
                                    fromByteOffset: offset * 4, as: UInt32.self)))
                    }
                }
            }
        }
    }

    func shape(frames: Int) -> LatentShape {
        LatentShape(channels: channels, frames: frames, height: height, width: width)
    }

    func windows(_ request: VideoRequest, _ description: ModelDescription) -> Windows {
        Windows(request, description)
    }

    /// The end of the last segment, for a window that goes on from it. The first known frame of a window stands for one
    /// picture, as the first of a video does; `picture` gives it by its position in the segment.
    func preceding(_ window: Windows.Window, picture: (Int) throws -> [Float]) throws -> KnownLatents {
        let segment = segments[segments.count - 1]
        let start = segment.count - window.known
        var known = KnownLatents()
        for position in 0..<window.known { known.frames[position] = segment[start + position] }
        if start > 0 { known.frames[0] = try picture(start) }
        return known
    }

    /// The beginning of the first segment, for a window that leads to it.
    func following(_ window: Windows.Window) -> KnownLatents {
        var known = KnownLatents()
        for index in 0..<window.known { known.frames[window.new + index] = segments[0][1 + index] }
        return known
    }

    /// Gives the observer all latent frames but the last `left`, of `count` in the end. What it has been given is not kept.
    mutating func give(_ observer: any GenerationObserver, but left: Int = 0, of count: Int) {
        let end = segments.reduce(0) { $0 + $1.count } - left
        var start = 0
        for index in segments.indices {
            defer { start += segments[index].count }
            for place in segments[index].indices where (given..<max(given, end)).contains(start + place) {
                observer.finished(latent: segments[index][place], channels: channels, at: start + place, of: count)
                segments[index][place] = []
            }
        }
        given = max(given, end)
    }
}

/// Pictures of normalised latent frames, one after another, in the memory of one.
final class VideoDecoder {
    /// The last picture of the newest latent frames, by their position.
    private(set) var lastFrames: [Int: Frame] = [:]
    private var count = 0
    private let remembered: Int
    private let statistics: ModelDescription.Latents
    private let area: Int
    private let latent: UnsafeMutablePointer<Float>
    private let stream: DecoderStream

    /// Lives in the arena, until that is rewound.
    init(_ generator: VideoGenerator, _ shape: LatentShape, _ arena: Arena) throws {
        statistics = generator.model.description.latents
        area = shape.height * shape.width
        remembered = generator.model.description.longestWindow
        latent = try arena.allocate(Float.self, count: shape.frameCount)
        stream = try generator.model.autoencoder.stream(
            latentHeight: shape.height, latentWidth: shape.width, compute: generator.compute, arena: arena)
    }

    func push(_ frame: [Float]) throws -> [Frame] {
        for (index, value) in frame.enumerated() {
            latent[index] = value * statistics.std[index / area] + statistics.mean[index / area]
        }
        var frames: [Frame] = []
        try stream.push(latent) { frames.append($0) }
        lastFrames[count] = frames.last
        lastFrames[count - remembered] = nil
        count += 1
        return frames
    }
}

extension Windows {
    /// How the video is made; only its length, and what is there already, are looked at.
    init(_ request: VideoRequest, _ description: ModelDescription) {
        let frames = request.frames
        let factor = description.autoencoder.timeFactor
        let longest = description.longestWindow
        guard let source = request.source else {
            guard !request.isLoop else {
                self.init(loop: (frames - 1) / factor + 1, longest: longest)
                return
            }
            // One latent frame alone is nothing that the model was trained on: an image is the first of a window.
            self.init(
                forward: frames == 1 ? longest : (frames - 1) / factor + 1, behind: 0, longest: longest)
            return
        }
        let added = frames - source.frames
        if let destination = request.destination {
            let between = (added - destination.frames + 1) / factor
            self.init(forward: between, behind: source.segments.last ?? 0, leading: longest)
            return
        }
        switch source.direction {
        case .forward:
            self.init(forward: added / factor, behind: source.segments.last ?? 0, longest: longest)
        case .backward:
            self.init(backward: added, before: source.segments.first ?? 0, longest: longest, timeFactor: factor)
        }
    }
}
