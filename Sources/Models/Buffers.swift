import Engine

/// Runs of floats that live and die together: the list of their sizes is written once, and both the plan and the
/// arena follow it.
struct Buffers {
    let floats: [UnsafeMutablePointer<Float>]

    init(_ counts: [Int], in arena: Arena) throws(ModelError) {
        var floats: [UnsafeMutablePointer<Float>] = []
        for count in counts {
            do {
                floats.append(try arena.allocate(Float.self, count: count))
            } catch {
                throw .memory(error.description)
            }
        }
        self.floats = floats
    }

    static func plan(_ counts: [Int], in plan: inout ArenaPlan) {
        for count in counts { plan.allocate(Float.self, count: count) }
    }

    /// The same over bytes: feature maps, whose elements are floats or bytes.
    static func raw(_ byteCounts: [Int], in arena: Arena) throws(ModelError) -> [UnsafeMutableRawPointer] {
        try Buffers(byteCounts.map(floatsOfScratch), in: arena).floats.map { UnsafeMutableRawPointer($0) }
    }

    static func planRaw(_ byteCounts: [Int], in plan: inout ArenaPlan) {
        Self.plan(byteCounts.map(floatsOfScratch), in: &plan)
    }
}

/// Floats that hold `bytes` bytes of scratch.
func floatsOfScratch(_ bytes: Int) -> Int { (bytes + 3) / 4 }

/// A `rethrows` over typed throws: checkpoint errors become the model's, with the file's name.
func inFile<T>(_ file: String, _ body: () throws(CheckpointError) -> T) throws(ModelError) -> T {
    do {
        return try body()
    } catch {
        throw .checkpoint(file: file, reason: error.description)
    }
}
