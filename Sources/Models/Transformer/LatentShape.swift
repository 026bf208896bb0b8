/// The extent of a video in latent space, as a tensor `[channels, frames, height, width]`.
public struct LatentShape: Sendable, Hashable {
    public var channels: Int
    public var frames: Int
    public var height: Int
    public var width: Int

    public init(channels: Int, frames: Int, height: Int, width: Int) {
        self.channels = channels
        self.frames = frames
        self.height = height
        self.width = width
    }

    public var count: Int { channels * frames * height * width }
    /// Numbers in one latent frame, `[channels, height, width]`.
    public var frameCount: Int { channels * height * width }
}

extension ModelDescription {
    /// The latents of `frames` pictures of `width` x `height` pixels; sides and length must be what the model makes.
    public func latentShape(width: Int, height: Int, frames: Int) throws(ModelError) -> LatentShape {
        let factor = autoencoder.spaceFactor
        let rows = factor * transformer.patchSize[1]
        let columns = factor * transformer.patchSize[2]
        guard width > 0, height > 0, width % columns == 0, height % rows == 0 else {
            throw .shape("\(width)x\(height) is not a multiple of \(columns)x\(rows)")
        }
        guard frames > 0, (frames - 1) % autoencoder.timeFactor == 0 else {
            throw .shape("\(frames) frames are not \(autoencoder.timeFactor)k + 1")
        }
        return LatentShape(
            channels: autoencoder.latentChannels, frames: (frames - 1) / autoencoder.timeFactor + 1,
            height: height / factor, width: width / factor)
    }
}
