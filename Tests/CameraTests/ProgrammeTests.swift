import Testing

@testable import Camera

/// What is shown when; the clock is the tests' own.
@Suite struct ProgrammeTests {
    private func video(_ first: UInt8, _ count: UInt8 = 4) -> Programme.Video {
        Programme.Video(jpegs: (0..<count).map { [first + $0] }, fps: 8)
    }

    /// Everything that is sent until `end`, with its time, by somebody who is never late.
    private func run(_ programme: inout Programme, until end: Double) -> [String] {
        var shown: [String] = []
        while let due = programme.due, due <= end {
            if let jpeg = programme.next(at: due) { shown.append("\(due) \(jpeg[0])") }
        }
        return shown
    }

    @Test func nothingIsNeverDue() {
        var programme = Programme(idle: .still)
        #expect(programme.due == nil && programme.next(at: 1) == nil)
    }

    @Test func aVideoIsShownAtItsRateAndRests() {
        var programme = Programme(idle: .still)
        programme.take(video: video(10), at: 100)
        #expect(
            run(&programme, until: 103)
                == ["100.0 10", "100.125 11", "100.25 12", "100.375 13", "101.5 13", "102.5 13"])
        #expect(programme.dropped == 0)
    }

    @Test func orIsRepeated() {
        var programme = Programme(idle: .loop)
        programme.take(video: video(10), at: 0)
        #expect(
            run(&programme, until: 0.9)
                == [
                    "0.0 10", "0.125 11", "0.25 12", "0.375 13", "0.5 10", "0.625 11", "0.75 12", "0.875 13",
                ])
        // A repetition gives way at once.
        programme.take(preview: [77], at: 0.9)
        #expect(programme.next(at: 0.9) == [77])
        #expect(programme.dropped == 0)
    }

    @Test func previewsAreShownAtOnce() {
        var programme = Programme(idle: .still)
        for number in UInt8(1)...3 {
            programme.take(preview: [number], at: Double(number))
            #expect(programme.next(at: Double(number)) == [number])
            #expect(programme.next(at: Double(number)) == nil)
        }
    }

    @Test func aVideoIsNotCutShort() {
        var programme = Programme(idle: .still)
        programme.take(video: video(10), at: 0)
        _ = programme.next(at: 0)
        // Three jobs are made in the time that one is shown.
        for start in [UInt8(20), 30, 40] {
            programme.take(preview: [start - 1], at: 0)
            programme.take(video: video(start), at: 0)
        }
        programme.take(preview: [99], at: 0)
        #expect(
            run(&programme, until: 1.2)
                == [
                    "0.125 11", "0.25 12", "0.375 13", "0.5 40", "0.625 41", "0.75 42", "0.875 43", "1.0 99",
                ])
        // Two videos and three previews never were.
        #expect(programme.dropped == 11)
    }

    @Test func whoIsLateSkips() {
        var programme = Programme(idle: .still)
        programme.take(video: video(10, 8), at: 0)
        #expect(programme.next(at: 0) == [10])
        #expect(programme.next(at: 0.55) == [14])
        #expect(programme.dropped == 3)
        #expect(programme.due == 0.625)
        // The end is always shown.
        #expect(programme.next(at: 50) == [17])
        #expect(programme.dropped == 5)
        #expect(programme.due == 51)
    }

    @Test func settlingShowsTheNewestPictureAtOnce() {
        var programme = Programme(idle: .loop)
        programme.settle(at: 1)
        #expect(programme.due == nil)
        programme.take(video: video(10), at: 1)
        programme.settle(at: 2)
        #expect(run(&programme, until: 3.5) == ["2.0 13", "3.0 13"])
        programme.take(video: video(10), at: 4)
        programme.take(video: video(20), at: 4)
        programme.take(preview: [99], at: 4)
        programme.settle(at: 4)
        #expect(programme.next(at: 4) == [99])
    }

    @Test func videosOfNothingAreNone() {
        var programme = Programme(idle: .loop)
        programme.take(video: Programme.Video(jpegs: [], fps: 8), at: 0)
        #expect(programme.due == nil)
    }
}
