/// How a matrix product is cut: into rows × output blocks, never across the sum.
///
/// Chunks of rows with all outputs come first: whoever multiplies such a chunk rounds its rows on the way, and reads all
/// weights. Then come rows that were rounded before (`shared`), in chunks of outputs, each of which reads weights of its own.
/// One thread has the former only. Of few rows all are shared.
struct Tiles {
    let rows: Int
    let outputs: Int
    /// Rows that are never cut apart: a panel of the kernels.
    let panel: Int
    /// Rows that are in no chunk of rows: the last ones, or none.
    let shared: Range<Int>
    /// Into how many blocks of rows, and each of those into how many chunks of outputs, the shared rows are cut.
    let sharedBlocks: Int
    let outputChunks: Int
    /// Chunks of rows, where there are several: making an array takes as long as two rows of a small linear.
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

    /// Weights that stay in a core's cache: to read them once more costs little.
    private static let cachedWeights = 256 << 10
    /// Rows of the last chunks of rows over such weights.
    private static let smallestRows = 24

    /// Shared rows of a thread, at most, and of a block.
    private static let sharedRows = 192
    private static let sharedBlockRows = 216

    /// - Parameters:
    ///   - maximumRows: of one chunk, at least a panel.
    ///   - panel: a divisor of 24.
    ///   - slowest: the speed of the slowest thread, where 1 is their mean.
    init(
        rows: Int, inputs: Int, outputs: Int, threads: Int, slowest: Double = 1, maximumRows: Int, panel: Int
    ) {
        self.rows = rows
        self.outputs = outputs
        self.panel = panel
        var cuts: [Range<Int>] = []
        var owned = rows
        if threads == 1 {
            if rows > maximumRows {
                cuts = Compute.shrinkingChunks(
                    of: rows, unit: panel, threads: 1, smallest: 0, largest: maximumRows)
            }
        } else if rows < 96 * threads {
            owned = 0
        } else if inputs * outputs <= Self.cachedWeights {
            cuts = Compute.shrinkingChunks(
                of: rows, unit: panel, threads: threads, smallest: Self.smallestRows, largest: maximumRows)
        } else {
            // Every thread has as many, three quarters of what the slowest would get; who is done takes of the shared rows.
            owned = 0
            repeat {
                let share = Int(0.75 * slowest * Double(rows - owned)) / threads
                let size = min(max((share + panel - 1) / panel, 1), maximumRows / panel) * panel
                for _ in 0..<threads {
                    cuts.append(owned..<owned + size)
                    owned += size
                }
            } while rows - owned > Self.sharedRows * threads
        }
        self.cuts = cuts
        shared = owned..<rows
        let blockRows = min(Self.sharedBlockRows, maximumRows)
        sharedBlocks = (shared.count + blockRows - 1) / blockRows
        // Finer where threads come to them at different times.
        let most = min(max(outputs / 64, 1), (owned > 0 ? 16 : 4) * threads)
        outputChunks = most > threads ? most / threads * threads : most
        let chunkRows = cuts.first?.count ?? (owned > 0 ? rows : blockRows)
        rowPass = inputs > Self.longRow && owned > 0 ? min(Self.longRowPass, chunkRows) : chunkRows
        step = max(64, Self.callProducts / (max(rowPass, shared.isEmpty ? 1 : blockRows) * max(inputs, 1)) & ~31)
    }

    /// Chunks of rows, as many.
    private var rowChunks: Int { shared.lowerBound == 0 ? 0 : max(cuts.count, 1) }

    /// How many chunks a pool gets.
    var chunks: Int { rowChunks + sharedBlocks * outputChunks }

    /// One of `parts` of a range that are cut at multiples of `unit` from its start, as long as the others but for a unit.
    private static func part(_ index: Int, of parts: Int, _ range: Range<Int>, unit: Int) -> Range<Int> {
        let units = (range.count + unit - 1) / unit
        func start(_ index: Int) -> Int { min(range.lowerBound + units * index / parts * unit, range.upperBound) }
        return start(index)..<start(index + 1)
    }

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
        compute.parallel(chunks: chunks) { chunk in
            if chunk < rowChunks {
                runChunk(cuts.isEmpty ? 0..<rows : cuts[chunk], isCancelled: { compute.isCancelled }, body)
                return
            }
            let (piece, block) = (chunk - rowChunks).quotientAndRemainder(dividingBy: sharedBlocks)
            let outputs = Self.part(piece, of: outputChunks, 0..<outputs, unit: Self.outputUnit)
            let rows = Self.part(block, of: sharedBlocks, shared, unit: panel)
            for start in stride(from: outputs.lowerBound, to: outputs.upperBound, by: step) {
                if compute.isCancelled { return }
                body(
                    Call(
                        rows: rows, outputs: start..<min(start + step, outputs.upperBound), isQuantized: true,
                        ahead: rows.upperBound..<rows.upperBound))
            }
        }
    }

    private func runChunk(
        _ chunk: Range<Int>, isCancelled: () -> Bool, _ body: (_ call: Call) -> Void
    ) {
        // Nobody rounds the first pass' rows ahead: few of them, if others follow.
        let first = chunk.count > rowPass ? rowPass / 2 : rowPass
        var pass = chunk.lowerBound..<min(chunk.lowerBound + first, chunk.upperBound)
        while !pass.isEmpty {
            let next = pass.upperBound..<min(pass.upperBound + rowPass, chunk.upperBound)
            let panels = (next.count + panel - 1) / panel
            for start in stride(from: 0, to: outputs, by: step) {
                if isCancelled() { return }
                let end = min(start + step, outputs)
                func row(at output: Int) -> Int {
                    let done = panels * output / outputs
                    return min(next.lowerBound + done * panel, next.upperBound)
                }
                body(
                    Call(
                        rows: pass, outputs: start..<end,
                        isQuantized: pass.lowerBound > chunk.lowerBound || start > 0,
                        ahead: row(at: start)..<row(at: end)))
            }
            pass = next
        }
    }
}
