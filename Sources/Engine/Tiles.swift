/// How a matrix product is cut: into rows × output blocks, never across the sum.
struct Tiles {
    let rows: Int
    let outputs: Int
    /// Of a chunk of the pool.
    let rowBlock: Int
    let outputBlock: Int
    /// Outputs of one call of a kernel: between two calls a cancel is seen.
    let step: Int

    /// Products of one call: a tenth of a second on a slow board.
    static let callProducts = 1 << 30

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
        step = min(max(64, Self.callProducts / (min(rowBlock, max(rows, 1)) * max(inputs, 1)) & ~31), outputBlock)
    }

    /// Whether each row belongs to one chunk.
    var ownsRows: Bool { outputBlock >= outputs }

    /// Calls `body` for each part; `isFirst` is true for the first of a chunk's. Chunks with the same outputs are
    /// neighbours in order, so that threads share weights while they are in a cache.
    func run(_ compute: Compute, _ body: (_ rows: Range<Int>, _ outputs: Range<Int>, _ isFirst: Bool) -> Void) {
        let rowBlocks = (rows + rowBlock - 1) / rowBlock
        let outputBlocks = (outputs + outputBlock - 1) / outputBlock
        compute.parallel(chunks: rowBlocks * outputBlocks) { chunk in
            let (row, output) = (chunk % rowBlocks * rowBlock, chunk / rowBlocks * outputBlock)
            let end = min(output + outputBlock, outputs)
            for start in stride(from: output, to: end, by: step) {
                if compute.isCancelled { return }
                body(row..<min(row + rowBlock, rows), start..<min(start + step, end), start == output)
            }
        }
    }
}
