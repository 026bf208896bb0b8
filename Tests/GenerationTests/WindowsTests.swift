import Testing

@testable import Generation

@Suite struct WindowsTests {
    typealias Window = Windows.Window

    @Test func whatFitsIsOneWindow() {
        for count in 1...5 {
            #expect(Windows(forward: count, behind: 0, longest: 5).windows == [Window(known: 0, new: count)])
        }
        #expect(Windows(forward: 0, behind: 5, longest: 5).windows.isEmpty)
    }

    @Test func longOnesKnowWhatWasBefore() {
        #expect(
            Windows(forward: 12, behind: 0, longest: 5).windows == [
                Window(known: 0, new: 5), Window(known: 2, new: 3), Window(known: 2, new: 3), Window(known: 4, new: 1),
            ])
        #expect(Windows(forward: 4, behind: 1, longest: 5).windows == [Window(known: 1, new: 4)])
        #expect(
            Windows(forward: 4, behind: 9, longest: 5).windows == [Window(known: 2, new: 3), Window(known: 4, new: 1)])
    }

    @Test func loopsTurnRoundInTheMiddle() {
        #expect(Windows(loop: 3, longest: 5).windows == [Window(known: 0, new: 2, spare: 3)])
        #expect(Windows(loop: 5, longest: 5).windows == [Window(known: 0, new: 3, spare: 2)])
        #expect(Windows(loop: 9, longest: 5).windows == [Window(known: 0, new: 5)])
        #expect(Windows(loop: 13, longest: 5).windows == Windows(forward: 7, behind: 0, longest: 5).windows)
    }

    @Test func allAreMadeAndNoneIsTooLong() {
        for longest in 3...9 {
            for present in 0...6 {
                for added in 1...40 {
                    let windows = Windows(forward: added, behind: present, longest: longest).windows
                    #expect(windows.reduce(0) { $0 + $1.new } == added)
                    var there = present
                    for window in windows {
                        #expect(window.count <= longest && window.new > 0 && window.known <= there)
                        #expect(there == 0 || window.known > 0)
                        there += window.new
                    }
                    guard present > 1 else { continue }
                    let back = Windows(backward: added * 4, before: present, longest: longest, timeFactor: 4).windows
                    #expect(back.reduce(0) { $0 + ($1.new - 1) * 4 } == added * 4)
                    #expect(back.allSatisfy { $0.count <= longest && $0.new > 1 && $0.known > 0 })
                }
            }
        }
    }
}
