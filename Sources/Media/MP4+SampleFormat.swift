import Video

extension MP4 {
    /// How the samples of a track are coded: its one sample description, `avc1` with `avcC` in it.
    struct SampleFormat: Sendable {
        /// Bytes of the length before each NAL unit.
        var lengthBytes: Int
        /// NAL units: one sequence parameter set, then picture parameter sets.
        var parameterSets: [[UInt8]]
        var parameters: SequenceParameterSet
        var colour: RGBMatrix

        init(description: Fields) throws(MediaError) {
            var fields = description
            try fields.skip(4)
            let count = try fields.number(4)
            guard count == 1 else { throw .unsupported("an MP4 of \(count) sample descriptions; one is read") }
            var entries = fields.boxes
            guard let entry = try entries.next() else { throw .malformed("MP4: stsd is cut short") }
            guard entry.name == "avc1" else { throw .unsupported(Self.words(for: entry.name)) }
            var parts = Fields(entries.inside(entry))
            try parts.skip(78)
            var boxes = parts.boxes
            var configuration: Fields?
            var colour: Fields?
            // QuickTime ends the list with four zeros.
            while boxes.range.count >= 8, let box = try boxes.next() {
                if box.name == "avcC", configuration == nil { configuration = Fields(boxes.inside(box)) }
                if box.name == "colr", colour == nil { colour = Fields(boxes.inside(box)) }
            }
            guard let configuration else { throw .malformed("MP4: no avcC") }
            (lengthBytes, parameterSets) = try Self.parameterSets(configuration)
            parameters = try SequenceParameterSet(parameterSets[0])
            self.colour = RGBMatrix(isBT709: parameters.isBT709, isFullRange: parameters.isFullRange)
            if let colour, let matrix = try Self.matrix(colour) { self.colour = matrix }
        }

        private static func words(for name: String) -> String {
            switch name {
            case "encv": "an encrypted MP4"
            case "hvc1", "hev1": "an MP4 of HEVC (\(name)); H.264 (avc1) is read"
            case "av01": "an MP4 of AV1; H.264 (avc1) is read"
            case "vp08", "vp09": "an MP4 of VP\(name.suffix(1)); H.264 (avc1) is read"
            default: "an MP4 of \(name); H.264 (avc1) is read"
            }
        }

        private static func parameterSets(
            _ configuration: Fields
        ) throws(MediaError) -> (lengthBytes: Int, sets: [[UInt8]]) {
            var fields = configuration
            let version = try fields.number(1)
            guard version == 1 else { throw .unsupported("an MP4 with avcC of version \(version)") }
            try fields.skip(3)
            let lengthBytes = try fields.number(1) & 3 + 1
            let sequences = try fields.number(1) & 31
            guard sequences == 1 else {
                throw .unsupported("an MP4 of \(sequences) sequence parameter sets; one is read")
            }
            var sets = [try parameterSet(&fields, type: 7)]
            let pictures = try fields.number(1)
            guard pictures > 0 else { throw .malformed("MP4: avcC has no picture parameter set") }
            for _ in 0..<pictures { sets.append(try parameterSet(&fields, type: 8)) }
            return (lengthBytes, sets)
        }

        private static func parameterSet(_ fields: inout Fields, type: UInt8) throws(MediaError) -> [UInt8] {
            let length = try fields.number(2)
            let unit = try fields.take(length)
            guard let first = unit.first, first & 0x1F == type, H264.withoutTrailingZeros(unit) != nil else {
                throw .malformed("MP4: avcC holds something else than a parameter set")
            }
            return Array(unit)
        }

        /// What `colr` says stands above what the parameter set says; `nil` when it says nothing that is known.
        private static func matrix(_ colour: Fields) throws(MediaError) -> RGBMatrix? {
            var fields = colour
            let kind = try fields.text(4)
            guard kind == "nclx" || kind == "nclc" else { return nil }
            try fields.skip(4)
            let isBT709 = try fields.number(2) == 1
            let flags = kind == "nclx" ? try fields.number(1) : 0
            return RGBMatrix(isBT709: isBT709, isFullRange: flags >> 7 == 1)
        }
    }
}
