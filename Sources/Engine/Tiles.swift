/// How a matrix product is cut: into rows × output blocks, never across the sum.
struct Tiles {
    let rows: Int
    let outputs: Int
    let rowBlock: Int
    let outputBlock: Int

    /// Weights of one block stay in the L2 cache.
    static let blockBytes = 384 << 10

    /// - Parameter bytesPerOutput: of weights.
    init(rows: Int, outputs: Int, bytesPerOutput: Int, threads: Int) {
        // 48 rows are whole tiles of 6, 8 and 12; a block of outputs is a multiple of 8.
        var rowBlock = 192
        var outputBlock = max(64, Self.blockBytes / max(bytesPerOutput, 1) & ~7)
        func chunks() -> Int {
            ((rows + rowBlock - 1) / rowBlock) * ((outputs + outputBlock - 1) / outputBlock)
        }
        if threads > 1 {
            while chunks() < 4 * threads && rowBlock > 48 && rows > 48 { rowBlock /= 2 }
            while chunks() < 4 * threads && outputBlock > 64 { outputBlock = max(64, outputBlock / 2 & ~7) }
        }
        self.rows = rows
        self.outputs = outputs
        self.rowBlock = rowBlock
        self.outputBlock = outputBlock
    }

    /// Row blocks are neighbours in order, so that threads share a block of weights while it is in the cache.
    func run(_ compute: Compute, _ body: (_ rows: Range<Int>, _ outputs: Range<Int>) -> Void) {
        let rowBlocks = (rows + rowBlock - 1) / rowBlock
        let outputBlocks = (outputs + outputBlock - 1) / outputBlock
        compute.parallel(chunks: rowBlocks * outputBlocks) { chunk in
            let (row, output) = (chunk % rowBlocks * rowBlock, chunk / rowBlocks * outputBlock)
            body(row..<min(row + rowBlock, rows), output..<min(output + outputBlock, outputs))
        }
    }
}
