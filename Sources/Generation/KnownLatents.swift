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

extension VideoGenerator {
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
