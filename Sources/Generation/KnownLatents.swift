import Engine
import Jobs
import Models
import Video

/// Latent frames that are given: they stand at time 0 and come out as they went in.
struct KnownLatents {
    /// By position: `[channels, height, width]`, normalised.
    var frames: [Int: [Float]] = [:]

    func timesteps(_ timestep: Float, frames count: Int) -> [Float] {
        (0..<count).map { frames[$0] == nil ? timestep : 0 }
    }

    /// Writes them over `latents`, `[channels, frames, height, width]`.
    func restore(in latents: UnsafeMutablePointer<Float>, _ shape: LatentShape) {
        let area = shape.height * shape.width
        for (position, values) in frames {
            values.withUnsafeBufferPointer { values in
                for channel in 0..<shape.channels {
                    (latents + (channel * shape.frames + position) * area).update(
                        from: values.baseAddress.unsafelyUnwrapped + channel * area, count: area)
                }
            }
        }
    }
}

/// A video under change: the latents that denoising begins from, and where they stay.
struct EditedLatents {
    /// By position: `[channels, height, width]`, normalised.
    var frames: [Int: [Float]] = [:]
    /// Which of `[height, width]` stay as they are; empty is none.
    var stays: [Bool]

    /// Begins at noise level `sigma`: `latents` is noise, and becomes a mixture of it and the frames.
    func mix(into latents: UnsafeMutablePointer<Float>, _ sigma: Float, _ shape: LatentShape) {
        each(shape) { place, _, value in latents[place] = (1 - sigma) * value + sigma * latents[place] }
    }

    /// Puts the frames back where they stay. On clean latents: the Euler step then leads along their own straight path.
    func restore(in clean: UnsafeMutablePointer<Float>, _ shape: LatentShape) {
        guard !stays.isEmpty else { return }
        each(shape) { place, pixel, value in if stays[pixel] { clean[place] = value } }
    }

    private func each(_ shape: LatentShape, _ change: (_ place: Int, _ pixel: Int, _ value: Float) -> Void) {
        let area = shape.height * shape.width
        for (position, values) in frames {
            for channel in 0..<shape.channels {
                let start = (channel * shape.frames + position) * area
                for pixel in 0..<area { change(start + pixel, pixel, values[channel * area + pixel]) }
            }
        }
    }

    /// A latent stays when most of its pixels are dark.
    static func stays(_ mask: Frame, _ shape: LatentShape) -> [Bool] {
        let (across, down) = (mask.size.width / shape.width, mask.size.height / shape.height)
        return (0..<shape.height * shape.width).map { place in
            var sum = 0
            for row in 0..<down {
                let start = ((place / shape.width * down + row) * mask.size.width + place % shape.width * across) * 3
                sum += mask.pixels[start..<start + across * 3].reduce(0) { $0 + Int($1) }
            }
            return sum < across * down * 3 * 128
        }
    }
}

extension VideoGenerator {
    /// The latent frames of the video that `request` changes; none when it makes one from nothing.
    func changed(
        _ request: VideoRequest, _ material: VideoMaterial, shape: LatentShape, arena: Arena
    ) throws -> [[Float]] {
        guard let edit = request.edit else { return [] }
        let factor = model.description.autoencoder.timeFactor
        return switch edit.source {
        case .pictures: try encode(held(material.video, until: request.frames), shape: shape, arena: arena)
        case .latents:
            try LatentVideo.segments([(edit.frames - 1) / factor + 1], of: material.latents, shape).flatMap { $0 }
        }
    }

    private func held(_ pictures: [Frame], until count: Int) -> [Frame] {
        guard let last = pictures.last else { return [] }
        return pictures + Array(repeating: last, count: max(0, count - pictures.count))
    }

    /// Counts what `encode` takes, and gives back.
    func planEncoding(_ shape: LatentShape, in plan: inout ArenaPlan) {
        let mark = plan.mark
        model.autoencoder.planEncoderStream(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
        plan.rewind(to: mark)
    }

    /// Counts what a `VideoDecoder` takes and keeps.
    func planDecoding(_ shape: LatentShape, in plan: inout ArenaPlan) {
        plan.allocate(Float.self, count: shape.frameCount)
        model.autoencoder.planStream(latentHeight: shape.height, latentWidth: shape.width, in: &plan)
    }

    /// The pictures of the request as latent frames. The last latent stands for several frames, which are all the last
    /// picture then: the video comes to rest on it.
    func knownPictures(
        _ material: VideoMaterial, shape: LatentShape, arena: Arena
    ) throws -> (first: [Float]?, last: [Float]?) {
        var known: (first: [Float]?, last: [Float]?)
        if let first = material.pictures[.first] {
            known.first = try encode([first], shape: shape, arena: arena).last
        }
        if let last = material.pictures[.last] {
            let still = Array(repeating: last, count: model.description.autoencoder.timeFactor + 1)
            known.last = try encode(still, shape: shape, arena: arena).last
        }
        return known
    }

    /// What the autoencoder alone makes of a picture of one of the model's sizes: the best that a known frame can come back as.
    public func reconstruction(of picture: Frame) throws -> Frame {
        let shape = try model.description.latentShape(width: picture.size.width, height: picture.size.height, frames: 1)
        let arena = try Arena(byteCount: bytes(for: shape, guided: false, isLong: true))
        let latents = try encode([picture], shape: shape, arena: arena)
        let frames = try VideoDecoder(self, shape, arena).push(latents[0])
        return frames[frames.count - 1]
    }

    /// Latent frames behind those of `before` that lead to the first of `after`: one video goes on as in a mirror at its end,
    /// the other as in a mirror at its beginning, and fades in over it. Neither motion jumps at its joint.
    func dissolve(
        from before: [Frame], to after: [Frame], latents: Int, shape: LatentShape, arena: Arena
    ) throws -> [[Float]] {
        guard let last = before.last else { return [] }
        let count = latents * model.description.autoencoder.timeFactor
        var pictures = [last]
        for number in 1...count {
            let leaving = before[before.count - 1 - mirrored(number, before.count)].pixels
            let coming = after[mirrored(count - number, after.count)].pixels
            let pixels = zip(leaving, coming).map { old, new in
                UInt8((Int(old) * (count - number) + Int(new) * number + count / 2) / count)
            }
            pictures.append(Frame(size: last.size, pixels: pixels))
        }
        return Array(try encode(pictures, shape: shape, arena: arena).dropFirst())
    }

    /// To and fro in `0..<count`.
    private func mirrored(_ place: Int, _ count: Int) -> Int {
        let around = place % max(1, 2 * (count - 1))
        return min(around, 2 * (count - 1) - around)
    }

    /// The latent frames behind those of `frames` that lead to the first of them by the way they came. That way is
    /// the one that closes whatever moves: a model that goes by its prompt takes no ball back that was to roll away.
    func wayBack(over frames: [Frame], shape: LatentShape, arena: Arena) throws -> [[Float]] {
        Array(try encode(frames.reversed(), shape: shape, arena: arena).dropFirst())
    }

    /// Normalised latent frames, `[channels, height, width]` each, of the pictures. The arena is given back as it was.
    func encode(_ pictures: [Frame], shape: LatentShape, arena: Arena) throws -> [[Float]] {
        let mark = arena.mark
        defer { arena.rewind(to: mark) }
        let stream = try model.autoencoder.encoderStream(
            latentHeight: shape.height, latentWidth: shape.width, compute: compute, arena: arena)
        let statistics = model.description.latents
        let area = shape.height * shape.width
        var latents: [[Float]] = []
        for picture in pictures {
            try stream.push(picture) { latent in
                latents.append(
                    (0..<shape.frameCount).map { (latent[$0] - statistics.mean[$0 / area]) / statistics.std[$0 / area] }
                )
            }
        }
        return latents
    }
}
