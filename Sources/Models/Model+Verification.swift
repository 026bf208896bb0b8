import Engine
import Video

extension Model {
    /// Reads every file: compares its SHA-256 with model.json, refuses a -128 among int8 weights, and numbers that are not
    /// finite among the others. Takes as long as reading does; run it at low priority.
    ///
    /// `progress` is told the bytes done and the bytes in all; when it returns false, `.cancelled` is thrown.
    public func verify(
        progress: (_ bytes: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws(ModelError) {
        let total = description.files.values.reduce(0) { $0 + $1.bytes }
        var done = 0
        for (name, entry) in description.files.sorted(by: { $0.key < $1.key }) {
            var hash = SHA256()
            try readFile(name, in: folder) { piece, _ throws(ModelError) in
                hash.update(piece)
                done += piece.count
                guard progress(done, total) else { throw .cancelled }
            }
            let found = hash.finalize()
            guard found == entry.sha256 else {
                throw .hashMismatch(file: name, found: found, expected: entry.sha256)
            }
        }
        for (name, checkpoint) in checkpoints.sorted(by: { $0.key < $1.key }) {
            try checkValues(checkpoint, file: name)
            guard progress(done, total) else { throw .cancelled }
        }
    }

    private func checkValues(_ checkpoint: Checkpoint, file: String) throws(ModelError) {
        try inFile(file) { () throws(CheckpointError) in try checkpoint.checkWeights() }
        for name in checkpoint.names {
            let tensor = try inFile(file) { () throws(CheckpointError) in try checkpoint.tensor(name) }
            guard tensor.type == .f32 else { continue }
            let values = UnsafeBufferPointer(start: tensor.floats, count: tensor.byteCount / 4)
            if let index = values.firstIndex(where: { !$0.isFinite }) {
                throw .badValue(file: file, tensor: name, reason: "has a number that is not finite, at \(index)")
            }
            if name.hasSuffix(".scale"), let index = values.firstIndex(where: { $0 < 0 }) {
                throw .badValue(file: file, tensor: name, reason: "has a negative scale, at \(index)")
            }
        }
    }
}
