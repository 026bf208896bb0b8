import Testing

@testable import Engine

@Suite struct ArenaTests {
    @Test func givesWhatWasPlanned() throws {
        var plan = ArenaPlan()
        plan.allocate(Float.self, count: 100)
        let mark = plan.mark
        plan.allocate(Int8.self, count: 1)
        plan.allocate(Int32.self, count: 1000)
        plan.rewind(to: mark)
        plan.allocate(Float.self, count: 3)
        #expect(plan.byteCount == 448 + 64 + 4032)

        let arena = try Arena(byteCount: plan.byteCount)
        let a = try arena.allocate(Float.self, count: 100)
        let arenaMark = arena.mark
        let b = try arena.allocate(Int8.self, count: 1)
        let c = try arena.allocate(Int32.self, count: 1000)
        a.update(repeating: 1, count: 100)
        b.pointee = 2
        c.update(repeating: 3, count: 1000)
        #expect(a[99] == 1 && b[0] == 2)
        for address in [Int(bitPattern: a), Int(bitPattern: b), Int(bitPattern: c)] { #expect(address % 64 == 0) }
        #expect(arena.peakByteCount == plan.byteCount)
        arena.rewind(to: arenaMark)
        #expect(
            try arena.allocate(Float.self, count: 3) == UnsafeMutableRawPointer(b).assumingMemoryBound(to: Float.self))
        #expect(arena.peakByteCount == plan.byteCount)
    }

    @Test func overflowIsAnError() throws {
        let arena = try Arena(byteCount: 128)
        _ = try arena.allocate(Float.self, count: 16)
        let error = ArenaError.exhausted(requested: 128, used: 64, byteCount: 128)
        #expect(error.description == "the arena has 128 bytes, 64 are in use, 128 more were asked for")
        #expect(throws: error) { try arena.allocate(Float.self, count: 17) }
        #expect(throws: ArenaError.self) { try arena.allocate(Float.self, count: Int.max / 2) }
        // A refusal takes nothing.
        _ = try arena.allocate(Float.self, count: 16)
        #expect(arena.peakByteCount == 128)
    }

    @Test func planSaturates() throws {
        var plan = ArenaPlan()
        for _ in 0..<4 { plan.allocate(Double.self, count: Int.max) }
        #expect(plan.byteCount > ArenaPlan.limit)
        #expect(throws: ArenaError.tooLarge(bytes: plan.byteCount)) { try Arena(byteCount: plan.byteCount) }
        #expect(throws: ArenaError.tooLarge(bytes: -1)) { try Arena(byteCount: -1) }
        _ = try Arena(byteCount: 0)
    }
}
