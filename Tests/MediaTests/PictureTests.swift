import Testing
import Video

@testable import Media

@Suite struct ContactSheetTests {
    @Test(arguments: [1, 3]) func sheetsHoldEveryFrame(scale: Int) throws {
        let frames = clip(8, 6, frames: 5)
        let sheet = try ContactSheet.make(frames, scale: scale)
        #expect(sheet.size == Size(width: 24 * scale, height: 12 * scale))
        for y in 0..<sheet.size.height {
            for x in 0..<sheet.size.width {
                let index = y / (6 * scale) * 3 + x / (8 * scale)
                let place = (y * sheet.size.width + x) * 3
                let pixel = Array(sheet.pixels[place..<place + 3])
                guard index < 5 else {
                    #expect(pixel == [0, 0, 0])
                    continue
                }
                let source = (y / scale % 6 * 8 + x / scale % 8) * 3
                #expect(pixel == Array(frames[index].pixels[source..<source + 3]))
            }
        }
    }

    @Test func refusesWhatDoesNotFit() {
        let frames = clip(8, 6, frames: 5)
        for columns in [Int.min, 0, 4097, .max] {
            #expect(throws: MediaError.tooLarge("columns and scale of a sheet must be 1 to 4096")) {
                try ContactSheet.make(frames, columns: columns)
            }
            #expect(throws: MediaError.tooLarge("columns and scale of a sheet must be 1 to 4096")) {
                try ContactSheet.make(frames, scale: columns)
            }
        }
        #expect(throws: MediaError.tooLarge("a sheet of 1x5 frames of 8000x6000; sides are 1 to 4096")) {
            try ContactSheet.make(frames, columns: 1, scale: 1000)
        }
    }
}

@Suite struct ThumbnailTests {
    @Test func smallFramesStay() {
        let frame = clip(64, 48, frames: 1)[0]
        #expect(Thumbnail.make(frame, maximumSide: 64) == frame)
    }

    @Test(arguments: [(64, 48, 63), (65, 33, 20), (300, 1, 7), (1, 300, 7), (9, 9, 0)])
    func sidesAreBounded(width: Int, height: Int, side: Int) {
        let small = Thumbnail.make(clip(width, height, frames: 1)[0], maximumSide: side)
        #expect(max(small.size.width, small.size.height) <= max(side, 1))
    }

    @Test func pixelsAreMeans() {
        let size = Size(width: 4, height: 2)!
        let frame = Frame(size: size, pixels: [0, 10, 20, 30, 40, 50] * 2 + [100, 0, 255, 101, 1, 255] * 2)
        let small = Thumbnail.make(frame, maximumSide: 2)
        #expect(small.size == Size(width: 2, height: 1))
        // Rows are [a b a b] and [c d c d]: both blocks hold a, b, c and d once.
        #expect(small.pixels == [58, 13, 145, 58, 13, 145])
    }
}

private func * (pixels: [UInt8], count: Int) -> [UInt8] { (0..<count).flatMap { _ in pixels } }
