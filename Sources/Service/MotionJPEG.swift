/// `multipart/x-mixed-replace`: one JPEG a part. A part starts with the boundary's line and ends before the next one.
enum MotionJPEG {
    static let boundary = "filoscope-frame"
    static let contentType = "multipart/x-mixed-replace; boundary=\(boundary)"

    /// - Parameter timestamp: seconds since 1970 at which the frame was ready.
    static func part(_ jpeg: [UInt8], timestamp: Double, step: Int, steps: Int) -> [UInt8] {
        let micros = Int64(timestamp * 1_000_000)
        let fraction = String(micros % 1_000_000)
        let stamp = "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
        let head =
            "--\(boundary)\r\nContent-Type: image/jpeg\r\nContent-Length: \(jpeg.count)\r\nX-Timestamp: \(stamp)\r\n"
            + "X-Step: \(step)\r\nX-Steps: \(steps)\r\n\r\n"
        return Array(head.utf8) + jpeg + Array("\r\n".utf8)
    }

    static var end: [UInt8] { Array("--\(boundary)--\r\n".utf8) }
}
