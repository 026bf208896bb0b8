import ArgumentParser
import Engine
import Glibc
import Video

/// The evaluation's classifier: which subject, motion and place does a clip show? `python -m train.judge` trains and writes it
/// (Quantization/train), on rendered clips alone.
///
/// Every fourth of 17 frames, at half size, goes through three convolutions of stride 2; a motion is read from all five of them
/// together, subject and place from their mean.
struct Judge {
    /// One of `names` for each question.
    struct Verdict: Equatable {
        var subject: String
        var motion: String
        var place: String
    }
    static let frames = 17
    private static let side = 4

    private struct Layer {
        var weight: [Float]
        var bias: [Float]

        init(_ file: Checkpoint, _ name: String) throws {
            let shape = try file.tensor("\(name).weight").shape
            let weight = try file.tensor("\(name).weight", .f32, shape: shape)
            let bias = try file.tensor("\(name).bias", .f32, shape: [shape.first ?? 0])
            self.weight = Self.values(weight)
            self.bias = Self.values(bias)
        }

        private static func values(_ tensor: Tensor) -> [Float] {
            Array(UnsafeBufferPointer(start: tensor.floats, count: tensor.shape.reduce(1, *)))
        }

        func callAsFunction(_ input: [Float]) -> [Float] {
            let width = weight.count / bias.count
            return bias.indices.map { row in
                var sum = bias[row]
                for column in 0..<width { sum += weight[row * width + column] * input[column] }
                return sum
            }
        }
    }

    private let features: [Layer]
    private let frame: Layer
    private let subject: Layer
    private let toSubject: Layer
    private let motion: Layer
    private let toMotion: Layer
    private let toPlace: Layer
    private let names: [[String]]

    init(path: String) throws {
        let file = try Checkpoint(path: path)
        features = try (0..<3).map { try Layer(file, "features.\($0)") }
        frame = try Layer(file, "frame")
        subject = try Layer(file, "subject")
        toSubject = try Layer(file, "to_subject")
        motion = try Layer(file, "motion")
        toMotion = try Layer(file, "to_motion")
        toPlace = try Layer(file, "to_place")
        let names = ["subjects", "motions", "places"].map {
            (file.metadata[$0] ?? "").split(separator: ",").map(String.init)
        }
        self.names = names
        let fits = zip(names, [toSubject, toMotion, toPlace]).allSatisfy { $0.count == $1.bias.count }
        let pooled = features[2].bias.count * Self.side * Self.side
        guard fits, features[0].weight.count == features[0].bias.count * 27,
            features[1].weight.count == features[1].bias.count * features[0].bias.count * 9,
            features[2].weight.count == features[2].bias.count * features[1].bias.count * 9,
            frame.weight.count == frame.bias.count * pooled, subject.weight.count == subject.bias.count * pooled,
            toSubject.weight.count == toSubject.bias.count * subject.bias.count,
            motion.weight.count == motion.bias.count * 5 * frame.bias.count,
            toMotion.weight.count == toMotion.bias.count * motion.bias.count,
            toPlace.weight.count == toPlace.bias.count * frame.bias.count
        else { throw ValidationError("\(path) is no judge") }
    }

    /// - Parameter clip: 17 frames.
    func callAsFunction(_ clip: ArraySlice<Frame>) -> Verdict {
        let seen = stride(from: clip.startIndex, to: clip.endIndex, by: 4).map { pooled(clip[$0]) }
        let looks = seen.map { frame($0).map { max($0, 0) } }
        let subjects = mean(seen.map { subject($0).map { max($0, 0) } })
        return Verdict(
            subject: name(0, toSubject(subjects)),
            motion: name(1, toMotion(motion(looks.flatMap { $0 }).map { max($0, 0) })),
            place: name(2, toPlace(mean(looks))))
    }

    private func name(_ question: Int, _ scores: [Float]) -> String {
        let best = scores.indices.max { scores[$0] < scores[$1] } ?? 0
        return names[question][best]
    }

    private func mean(_ rows: [[Float]]) -> [Float] {
        rows[0].indices.map { index in rows.reduce(0) { $0 + $1[index] } / Float(rows.count) }
    }

    /// What the convolutions see in a frame, as `[channels, 4, 4]`.
    private func pooled(_ frame: Frame) -> [Float] {
        var (height, width) = (frame.size.height / 2, frame.size.width / 2)
        var planes = [Float](repeating: 0, count: 3 * height * width)
        for channel in 0..<3 {
            for y in 0..<height {
                for x in 0..<width {
                    var sum = 0
                    for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        sum += Int(frame.pixels[((2 * y + dy) * frame.size.width + 2 * x + dx) * 3 + channel])
                    }
                    planes[(channel * height + y) * width + x] = Float(sum) / 1020 - 0.5
                }
            }
        }
        for layer in features { planes = convolved(planes, layer, &height, &width) }
        let channels = planes.count / (height * width)
        var result: [Float] = []
        for channel in 0..<channels {
            for row in 0..<Self.side {
                let rows = row * height / Self.side..<((row + 1) * height + Self.side - 1) / Self.side
                for column in 0..<Self.side {
                    let columns = column * width / Self.side..<((column + 1) * width + Self.side - 1) / Self.side
                    var sum: Float = 0
                    for y in rows { for x in columns { sum += planes[(channel * height + y) * width + x] } }
                    result.append(sum / Float(rows.count * columns.count))
                }
            }
        }
        return result
    }

    /// 3 × 3, stride 2, zeros around, ReLU.
    private func convolved(_ planes: [Float], _ layer: Layer, _ height: inout Int, _ width: inout Int) -> [Float] {
        let inputs = planes.count / (height * width)
        let (rows, columns) = ((height + 1) / 2, (width + 1) / 2)
        var result = [Float](repeating: 0, count: layer.bias.count * rows * columns)
        for output in layer.bias.indices {
            for row in 0..<rows {
                for column in 0..<columns {
                    var sum = layer.bias[output]
                    for ky in 0..<3 {
                        let y = 2 * row + ky - 1
                        guard (0..<height).contains(y) else { continue }
                        for kx in 0..<3 {
                            let x = 2 * column + kx - 1
                            guard (0..<width).contains(x) else { continue }
                            for input in 0..<inputs {
                                sum +=
                                    planes[(input * height + y) * width + x]
                                    * layer.weight[(output * inputs + input) * 9 + ky * 3 + kx]
                            }
                        }
                    }
                    result[(output * rows + row) * columns + column] = max(sum, 0)
                }
            }
        }
        (height, width) = (rows, columns)
        return result
    }
}
