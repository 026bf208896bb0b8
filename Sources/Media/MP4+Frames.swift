import Video

extension MP4 {
    /// Decodes the frames of a file from its beginning on, one at a time.
    final class FrameReader {
        private let contents: Contents
        private var decoder: H264Decoder
        private let isReordered: Bool
        private var nextSample = 0
        /// The slices of the next sample, once they were taken apart.
        private var upcoming: [UInt8]?
        /// Frames that came before their turn.
        private var early: [Int: Frame] = [:]
        /// As many as the largest level lets a decoder keep.
        private let maximumEarly: Int

        /// - Parameter maximumPixels: of all frames that may have to be decoded; looked at before anything is.
        init(_ contents: Contents, maximumPixels: Int) throws(MediaError) {
            let parameters = contents.format.parameters
            guard contents.samples.count <= maximumPixels / (256 * parameters.macroblocks) else {
                throw .tooLarge(
                    "an MP4 of \(contents.samples.count) frames of \(parameters.size); the limit is "
                        + "\(maximumPixels) pixels")
            }
            self.contents = contents
            maximumEarly = min(16, H264.maximumBufferedMacroblocks / parameters.macroblocks)
            let (samples, following) = (contents.samples, contents.samples.dropFirst())
            isReordered = zip(samples, following).contains { $0.number > $1.number }
            decoder = try H264Decoder(parameterSets: contents.format.parameterSets)
        }

        /// - Parameter number: in the order in which they are shown, higher than of the call before.
        func frame(_ number: Int) throws(MediaError) -> Frame {
            early = early.filter { $0.key >= number }
            while true {
                if let frame = early.removeValue(forKey: number) { return frame }
                guard let picture = try nextPicture() else {
                    throw .malformed("MP4: frame \(number) does not come out of the decoder")
                }
                guard picture.size == contents.format.parameters.size else {
                    throw .malformed("MP4: a frame of \(picture.size) in a video of \(contents.format.parameters.size)")
                }
                // The decoder has them in order as a rule; those that nobody waits for are not converted.
                guard picture.number >= number else { continue }
                guard early.count < maximumEarly else {
                    throw .malformed("MP4: frame \(number) comes more than \(maximumEarly) frames late")
                }
                early[picture.number] = Frame(
                    picture, contents.format.colour, quarterTurns: contents.quarterTurns)
            }
        }

        private func nextPicture() throws(MediaError) -> H264Decoder.Picture? {
            while nextSample < contents.samples.count {
                let sample = contents.samples[nextSample]
                let units: [UInt8]
                if let upcoming { units = upcoming } else { units = try contents.slices(of: sample) }
                upcoming = units
                if isReordered, nextSample > 0, H264.isInstantaneousRefresh(units) {
                    // Before its version 2.4 the library may write over pictures that wait when such a one comes, and it
                    // is not to be used again after a flush.
                    if let picture = try decoder.flush() { return picture }
                    decoder = try H264Decoder(parameterSets: contents.format.parameterSets)
                }
                upcoming = nil
                nextSample += 1
                if let picture = try decoder.decode(units, number: sample.number) { return picture }
            }
            return try decoder.flush()
        }
    }
}
