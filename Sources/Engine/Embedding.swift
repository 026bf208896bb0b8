/// A table of vectors by index. Int8: `name.weight` I8 [count, width] row-major with `name.scale` F32 [count];
/// float: `name.weight` F32 [count, width].
///
/// Unchecked: the pointers lead into the read-only map that `checkpoint` keeps.
public struct Embedding: @unchecked Sendable {
    public let name: String
    public let count: Int
    public let width: Int
    private let checkpoint: Checkpoint
    private let storage: Storage

    private enum Storage {
        case int8(UnsafePointer<Int8>, scale: UnsafePointer<Float>)
        case float(UnsafePointer<Float>)
    }

    public init(_ checkpoint: Checkpoint, _ name: String, count: Int, width: Int) throws(CheckpointError) {
        try checkpoint.require(name, count, in: 1...(1 << 24), "rows")
        try checkpoint.require(name, width, in: 1...Linear.largestDimension, "width")
        self.name = name
        self.count = count
        self.width = width
        self.checkpoint = checkpoint
        if try checkpoint.tensor(name + ".weight").type == .i8 {
            storage = .int8(
                try checkpoint.tensor(name + ".weight", .i8, shape: [count, width]).int8s,
                scale: try checkpoint.tensor(name + ".scale", .f32, shape: [count]).floats)
        } else {
            storage = .float(try checkpoint.tensor(name + ".weight", .f32, shape: [count, width]).floats)
        }
    }

    /// Writes row `index`, [width] floats.
    public func callAsFunction(_ index: Int, into output: UnsafeMutablePointer<Float>) {
        precondition((0..<count).contains(index), "\(name) has \(count) rows, \(index) was asked for")
        switch storage {
        case .int8(let weight, let scale):
            let (row, scale) = (weight + index * width, scale[index])
            for i in 0..<width { output[i] = Float(row[i]) * scale }
        case .float(let weight):
            output.update(from: weight + index * width, count: width)
        }
    }
}
