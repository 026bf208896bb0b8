import Glibc
import Testing

@testable import Models

@Suite struct TableTests {
    @Test func elementaryFunctionsAreAccurate() {
        for i in -2000...2000 {
            let x = Double(i) * 0.317
            let (sine, cosine) = TableMath.sincos(x)
            #expect(abs(sine - sin(x)) < 1e-13)
            #expect(abs(cosine - cos(x)) < 1e-13)
            let y = Double(i) * 0.0173
            #expect(abs(TableMath.exp(y) / exp(y) - 1) < 1e-14)
            let z = exp(y)
            #expect(abs(TableMath.log(z) - y) < 1e-13)
        }
        #expect(TableMath.exp(0) == 1)
        #expect(TableMath.log(1) == 0)
    }

    @Test func rotaryTableFollowsTheGrid() {
        let table = RotaryTable(headDimension: 64, frames: 2, rows: 3, columns: 5)
        var cosines = [Float](repeating: .nan, count: table.count)
        var sines = cosines
        table.fill(cosines: &cosines, sines: &sines)
        // 64 = 24 (time) + 20 (rows) + 20 (columns) numbers: pairs 0..<12, 12..<22, 22..<32.
        for (frame, row, column) in [(0, 0, 0), (1, 2, 4), (1, 0, 3)] {
            let token = (frame * 3 + row) * 5 + column
            for (pair, position, index, dimension) in [
                (0, frame, 0, 24), (11, frame, 11, 24), (12, row, 0, 20), (21, row, 9, 20), (22, column, 0, 20),
                (31, column, 9, 20),
            ] {
                let angle = Double(position) / pow(10000, Double(2 * index) / Double(dimension))
                #expect(abs(cosines[token * 32 + pair] - Float(cos(angle))) < 1e-7)
                #expect(abs(sines[token * 32 + pair] - Float(sin(angle))) < 1e-7)
            }
        }
        #expect(cosines.allSatisfy { abs($0) <= 1 })
    }

    @Test func timestepEmbeddingStartsWithCosines() {
        var values = [Float](repeating: .nan, count: 8)
        embedTimestep(750, dimension: 8, into: &values)
        for i in 0..<4 {
            let angle = 750 * pow(10000, -Double(i) / 4)
            #expect(abs(values[i] - Float(cos(angle))) < 1e-4)
            #expect(abs(values[4 + i] - Float(sin(angle))) < 1e-4)
        }
    }
}
