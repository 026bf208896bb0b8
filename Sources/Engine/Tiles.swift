/// How a matrix product is cut: into rows × output blocks, never across the sum.
struct Tiles {
    let rows: Int
    let outputs: Int
    /// Rows that are never cut apart: a panel of the kernels.
    let panel: Int
    /// Chunks of the pool are rowChunks × outputChunks.
    var rowChunks: [Range<Int>] { cuts.isEmpty ? [0..<rows] : cuts }
    let outputChunks: Int
    /// Empty where all rows are one chunk: making an array takes as long as two rows of a small linear.
    private let cuts: [Range<Int>]
    /// Rows and outputs of one call of a kernel: between two calls a cancel is seen.
    let rowPass: Int
    let step: Int

    /// Products of one call: a tenth of a second on a slow board.
    static let callProducts = 1 << 30

    /// Rows longer than a kernel keeps sums for in one go (`LI_LONG`) come from memory slower than the first calls want
    /// them: a chunk takes them in passes, each of which rounds those of the next.
    static let longRow = 2304
    static let longRowPass = 192

    /// Outputs that are never cut apart: a kernel's widest tile.
    private static let outputUnit = 32

    /// Rows of the last chunks, each of which reads all weights.
    private static let smallestRows = 24

    /// - Parameters:
    ///   - maximumRows: of one chunk, at least a panel.
    ///   - panel: a divisor of 48.
    init(rows: Int, inputs: Int, outputs: Int, threads: Int, maximumRows: Int, panel: Int) {
        self.rows = rows
        self.outputs = outputs
        self.panel = panel
        // Enough rows: every thread has some of its own, quantizes them and reads all weights. Few: it has weights of its own,
        // 64 outputs or more.
        let sharesRows = threads > 1 && rows >= 96 * threads
        cuts =
            !sharesRows && rows <= maximumRows
            ? []
            : Compute.shrinkingChunks(
                of: rows, unit: panel, threads: sharesRows ? threads : 1, smallest: Self.smallestRows,
                largest: maximumRows)
        let most = threads == 1 || sharesRows ? 1 : min(max(outputs / 64, 1), 4 * threads)
        outputChunks = most > threads ? most / threads * threads : most
        let chunkRows = max(cuts.first?.count ?? rows, 1)
        rowPass = inputs > Self.longRow && outputChunks == 1 ? min(Self.longRowPass, chunkRows) : chunkRows
        step = max(64, Self.callProducts / (rowPass * max(inputs, 1)) & ~31)
    }

    /// The outputs of one of `outputChunks`, as many as its neighbours have but for one unit.
    private func outputs(ofChunk index: Int) -> Range<Int> {
        let units = (outputs + Self.outputUnit - 1) / Self.outputUnit
        func start(_ index: Int) -> Int { min(units * index / outputChunks * Self.outputUnit, outputs) }
        return start(index)..<start(index + 1)
    }

    /// Whether each row belongs to one chunk.
    var ownsRows: Bool { outputChunks == 1 }

    /// What one call of a kernel multiplies.
    struct Call {
        var rows: Range<Int>
        var outputs: Range<Int>
        /// Whether a call before has these rows' bytes.
        var isQuantized: Bool
        /// Rows of a later call of the same chunk to round meanwhile.
        var ahead: Range<Int>
    }

    /// Calls `body` for each part. Chunks with the same outputs are neighbours in order, so that threads share weights
    /// while they are in a cache.
    func run(_ compute: Compute, _ body: (_ call: Call) -> Void) {
        let count = max(cuts.count, 1)
        compute.parallel(chunks: count * outputChunks) { chunk in
            runChunk(
                cuts.isEmpty ? 0..<rows : cuts[chunk % count], outputs(ofChunk: chunk / count),
                isCancelled: { compute.isCancelled }, body)
        }
    }

    private func runChunk(
        _ chunk: Range<Int>, _ outputs: Range<Int>, isCancelled: () -> Bool, _ body: (_ call: Call) -> Void
    ) {
        // Nobody rounds the first pass' rows ahead: few of them, if others follow.
        let first = chunk.count > rowPass ? rowPass / 2 : rowPass
        var pass = chunk.lowerBound..<min(chunk.lowerBound + first, chunk.upperBound)
        while !pass.isEmpty {
            let next = pass.upperBound..<min(pass.upperBound + rowPass, chunk.upperBound)
            let panels = (next.count + panel - 1) / panel
            for start in stride(from: outputs.lowerBound, to: outputs.upperBound, by: step) {
                if isCancelled() { return }
                let end = min(start + step, outputs.upperBound)
                func row(at output: Int) -> Int {
                    let done = panels * (output - outputs.lowerBound) / outputs.count
                    return min(next.lowerBound + done * panel, next.upperBound)
                }
                body(
                    Call(
                        rows: pass, outputs: start..<end,
                        isQuantized: pass.lowerBound > chunk.lowerBound || start > outputs.lowerBound,
                        ahead: row(at: start)..<row(at: end)))
            }
            pass = next
        }
    }
}
