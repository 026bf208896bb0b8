/// How a matrix product is cut: into rows × output blocks, never across the sum.
struct Tiles {
    let rows: Int
    let outputs: Int
    /// Of a chunk of the pool.
    let rowBlock: Int
    let outputBlock: Int
    /// Rows and outputs of one call of a kernel: between two calls a cancel is seen.
    let rowPass: Int
    let step: Int

    /// Products of one call: a tenth of a second on a slow board.
    static let callProducts = 1 << 30

    /// Rows longer than a kernel keeps sums for in one go (`LI_LONG`) come from memory slower than the first calls want
    /// them: a chunk takes them in passes, each of which rounds those of the next.
    static let longRow = 2304
    static let longRowPass = 192

    /// - Parameter maximumRows: of one chunk, a multiple of 48.
    init(rows: Int, inputs: Int, outputs: Int, threads: Int, maximumRows: Int) {
        // 48 rows are whole panels of 2, 4, 6 and 12.
        func wholePanels(_ rows: Int) -> Int { (rows + 47) / 48 * 48 }
        self.rows = rows
        self.outputs = outputs
        if threads == 1 {
            rowBlock = min(wholePanels(rows), maximumRows)
            outputBlock = outputs
        } else if rows >= 96 * threads {
            // Every thread has rows of its own: each quantizes them, and reads all weights.
            rowBlock = min(wholePanels((rows + 2 * threads - 1) / (2 * threads)), maximumRows)
            outputBlock = outputs
        } else {
            // Few rows: every thread has weights of its own.
            rowBlock = min(wholePanels(rows), maximumRows)
            outputBlock = max(64, ((outputs + 4 * threads - 1) / (4 * threads) + 31) & ~31)
        }
        rowPass = inputs > Self.longRow && outputBlock >= outputs ? min(Self.longRowPass, rowBlock) : rowBlock
        step = min(max(64, Self.callProducts / (min(rowPass, max(rows, 1)) * max(inputs, 1)) & ~31), outputBlock)
    }

    /// Whether each row belongs to one chunk.
    var ownsRows: Bool { outputBlock >= outputs }

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
        let rowBlocks = (rows + rowBlock - 1) / rowBlock
        let outputBlocks = (outputs + outputBlock - 1) / outputBlock
        compute.parallel(chunks: rowBlocks * outputBlocks) { chunk in
            let (row, output) = (chunk % rowBlocks * rowBlock, chunk / rowBlocks * outputBlock)
            runChunk(
                row..<min(row + rowBlock, rows), output..<min(output + outputBlock, outputs),
                panel: Int(compute.kernels.panel.rows), isCancelled: { compute.isCancelled }, body)
        }
    }

    private func runChunk(
        _ chunk: Range<Int>, _ outputs: Range<Int>, panel: Int, isCancelled: () -> Bool, _ body: (_ call: Call) -> Void
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
