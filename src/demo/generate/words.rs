//! What a hardware shop sells: the tree of families, what is in them and in which formats.
//!
//! One file, because it is data.

/// How the formats of an article differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formats {
    /// One format: the article itself.
    Plain,
    /// `Color` and `Formato`: paint.
    Paint,
    /// `Medida`: anything cut or cast in sizes.
    Size,
    /// `Talla` and `Color`: anything to wear.
    Wear,
    /// `Medida` and `Formato`: screws by the box.
    Box,
}

/// A kind of article in Spanish and English, with its formats.
pub type Noun = (&'static str, &'static str, Formats);

/// A family's name in Spanish and English.
#[derive(Debug)]
pub struct Name {
    pub es: &'static str,
    pub en: &'static str,
}

/// A family without subfamilies.
#[derive(Debug)]
pub struct Leaf {
    pub name: Name,
    /// Prefix of its articles' references.
    pub code: &'static str,
    pub tax: &'static str,
    pub nouns: [Noun; 4],
}

/// A family at the root, with its subfamilies.
#[derive(Debug)]
pub struct Branch {
    pub name: Name,
    pub code: &'static str,
    pub leaves: [Leaf; 4],
}

use Formats::{Box, Paint, Plain, Size, Wear};

const fn leaf(code: &'static str, es: &'static str, en: &'static str, tax: &'static str, nouns: [Noun; 4]) -> Leaf {
    Leaf { name: Name { es, en }, code, tax, nouns }
}

/// 8 families at the root with 4 subfamilies each: 40 families. Every noun becomes four articles: 512 articles, 68
/// of them with formats.
pub const TREE: [Branch; 8] = [
    Branch {
        code: "HER",
        name: Name { es: "Herramienta manual", en: "Hand tools" },
        leaves: [
            leaf(
                "MAR",
                "Martillos y mazas",
                "Hammers & mallets",
                "IVA21",
                [
                    ("Martillo de bola", "Ball-peen hammer", Plain),
                    ("Martillo de carpintero", "Claw hammer", Plain),
                    ("Maza de goma", "Rubber mallet", Size),
                    ("Maceta de albañil", "Club hammer", Plain),
                ],
            ),
            leaf(
                "LLA",
                "Llaves y vasos",
                "Spanners & sockets",
                "IVA21",
                [
                    ("Llave fija", "Open-end spanner", Size),
                    ("Llave inglesa", "Adjustable spanner", Plain),
                    ("Juego de vasos 1/2\"", "Socket set 1/2\"", Plain),
                    ("Llave de carraca", "Ratchet spanner", Plain),
                ],
            ),
            leaf(
                "DES",
                "Destornilladores",
                "Screwdrivers",
                "IVA21",
                [
                    ("Destornillador plano", "Slotted screwdriver", Size),
                    ("Destornillador de estrella", "Cross-head screwdriver", Size),
                    ("Juego de puntas", "Bit set", Plain),
                    ("Destornillador de precisión", "Precision screwdriver", Plain),
                ],
            ),
            leaf(
                "COR",
                "Corte y sierra",
                "Cutting & saws",
                "IVA21",
                [
                    ("Serrucho", "Handsaw", Plain),
                    ("Arco de sierra", "Hacksaw", Plain),
                    ("Cúter", "Utility knife", Plain),
                    ("Tijera de chapa", "Tin snips", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "ELE",
        name: Name { es: "Herramienta eléctrica", en: "Power tools" },
        leaves: [
            leaf(
                "TAL",
                "Taladros",
                "Drills",
                "IVA21",
                [
                    ("Taladro percutor", "Hammer drill", Plain),
                    ("Taladro atornillador", "Drill driver", Plain),
                    ("Martillo perforador", "Rotary hammer", Plain),
                    ("Broca para hormigón", "Masonry bit", Size),
                ],
            ),
            leaf(
                "LIJ",
                "Lijado y pulido",
                "Sanding & polishing",
                "IVA21",
                [
                    ("Lijadora orbital", "Orbital sander", Plain),
                    ("Lijadora de banda", "Belt sander", Plain),
                    ("Pulidora", "Polisher", Plain),
                    ("Disco de lija", "Sanding disc", Size),
                ],
            ),
            leaf(
                "AMO",
                "Amoladoras",
                "Angle grinders",
                "IVA21",
                [
                    ("Amoladora", "Angle grinder", Plain),
                    ("Disco de corte", "Cutting disc", Size),
                    ("Disco de diamante", "Diamond disc", Plain),
                    ("Cepillo de alambre", "Wire brush", Plain),
                ],
            ),
            leaf(
                "BAT",
                "Baterías y cargadores",
                "Batteries & chargers",
                "IVA21",
                [
                    ("Batería 18 V", "Battery 18 V", Plain),
                    ("Cargador rápido", "Fast charger", Plain),
                    ("Adaptador de batería", "Battery adapter", Plain),
                    ("Maletín con 2 baterías", "Case with 2 batteries", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "PIN",
        name: Name { es: "Pintura y decoración", en: "Paint & decoration" },
        leaves: [
            leaf(
                "PLA",
                "Pintura plástica",
                "Emulsion paint",
                "IVA21",
                [
                    ("Pintura plástica mate", "Matt emulsion", Paint),
                    ("Pintura de fachada", "Masonry paint", Paint),
                    ("Imprimación", "Primer", Plain),
                    ("Pintura antihumedad", "Damp-proof paint", Plain),
                ],
            ),
            leaf(
                "ESM",
                "Esmaltes y barnices",
                "Enamels & varnishes",
                "IVA21",
                [
                    ("Esmalte al agua", "Water-based enamel", Paint),
                    ("Barniz para madera", "Wood varnish", Plain),
                    ("Esmalte antioxidante", "Rust-proof enamel", Plain),
                    ("Aceite de teca", "Teak oil", Plain),
                ],
            ),
            leaf(
                "BRO",
                "Brochas y rodillos",
                "Brushes & rollers",
                "IVA21",
                [
                    ("Brocha plana", "Flat brush", Size),
                    ("Rodillo antigota", "No-drip roller", Plain),
                    ("Cubeta de pintor", "Paint tray", Plain),
                    ("Recambio de rodillo", "Roller refill", Plain),
                ],
            ),
            leaf(
                "SIL",
                "Siliconas y masillas",
                "Sealants & fillers",
                "IVA21",
                [
                    ("Silicona neutra", "Neutral silicone", Plain),
                    ("Masilla tapagrietas", "Crack filler", Plain),
                    ("Espuma de poliuretano", "PU foam", Plain),
                    ("Cinta de carrocero", "Masking tape", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "FON",
        name: Name { es: "Fontanería", en: "Plumbing" },
        leaves: [
            leaf(
                "TUB",
                "Tubos y accesorios",
                "Pipes & fittings",
                "IVA21",
                [
                    ("Tubo de cobre", "Copper pipe", Size),
                    ("Codo de latón 1/2\"", "Brass elbow 1/2\"", Plain),
                    ("Tubo multicapa", "Multilayer pipe", Plain),
                    ("Manguito & reducción", "Coupling & reducer", Plain),
                ],
            ),
            leaf(
                "GRI",
                "Grifería",
                "Taps",
                "IVA21",
                [
                    ("Grifo de lavabo", "Basin tap", Plain),
                    ("Monomando de cocina", "Kitchen mixer", Plain),
                    ("Columna de ducha", "Shower column", Plain),
                    ("Latiguillo flexible", "Flexible hose", Plain),
                ],
            ),
            leaf(
                "SAN",
                "Sanitarios",
                "Sanitary ware",
                "IVA21",
                [
                    ("Asiento de inodoro", "Toilet seat", Plain),
                    ("Mecanismo de cisterna", "Cistern mechanism", Plain),
                    ("Sifón extensible", "Extendable trap", Plain),
                    ("Plato de ducha", "Shower tray", Plain),
                ],
            ),
            leaf(
                "CAL",
                "Agua caliente",
                "Water heating",
                "IVA21",
                [
                    ("Termo eléctrico 50 l", "Water heater 50 l", Plain),
                    ("Válvula de seguridad", "Safety valve", Plain),
                    ("Termostato", "Thermostat", Plain),
                    ("Ánodo de magnesio", "Magnesium anode", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "LUZ",
        name: Name { es: "Electricidad e iluminación", en: "Electrics & lighting" },
        leaves: [
            leaf(
                "CAB",
                "Cables",
                "Cables",
                "IVA21",
                [
                    ("Manguera eléctrica", "Power cable", Plain),
                    ("Prolongador 3 m", "Extension lead 3 m", Plain),
                    ("Cable unipolar", "Single-core cable", Plain),
                    ("Regleta de 6 tomas", "6-way power strip", Plain),
                ],
            ),
            leaf(
                "BOM",
                "Bombillas",
                "Light bulbs",
                "IVA21",
                [
                    ("Bombilla LED E27", "LED bulb E27", Plain),
                    ("Bombilla LED GU10", "LED bulb GU10", Plain),
                    ("Tubo LED 120 cm", "LED tube 120 cm", Plain),
                    ("Bombilla de vela", "Candle bulb", Plain),
                ],
            ),
            leaf(
                "MEC",
                "Mecanismos",
                "Switches & sockets",
                "IVA21",
                [
                    ("Interruptor simple", "Light switch", Plain),
                    ("Base de enchufe", "Wall socket", Plain),
                    ("Conmutador cruzado", "Intermediate switch", Plain),
                    ("Marco embellecedor", "Cover frame", Plain),
                ],
            ),
            leaf(
                "CUA",
                "Cuadro eléctrico",
                "Consumer unit",
                "IGIC7",
                [
                    ("Magnetotérmico 16 A", "Circuit breaker 16 A", Plain),
                    ("Diferencial 40 A", "Residual current device 40 A", Plain),
                    ("Caja de superficie", "Surface box", Plain),
                    ("Contador de carril", "DIN-rail meter", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "JAR",
        name: Name { es: "Jardín y huerto", en: "Garden" },
        leaves: [
            leaf(
                "RIE",
                "Riego",
                "Watering",
                "IVA10",
                [
                    ("Manguera de jardín", "Garden hose", Plain),
                    ("Aspersor", "Sprinkler", Plain),
                    ("Programador de riego", "Watering timer", Plain),
                    ("Gotero regulable", "Adjustable dripper", Plain),
                ],
            ),
            leaf(
                "SEM",
                "Semillas y abonos",
                "Seeds & fertilisers",
                "IVA10",
                [
                    ("Semillas de césped", "Lawn seed", Plain),
                    ("Abono universal", "All-purpose fertiliser", Plain),
                    ("Sustrato 50 l", "Potting compost 50 l", Plain),
                    ("Semillas de tomate", "Tomato seed", Plain),
                ],
            ),
            leaf(
                "POD",
                "Poda",
                "Pruning",
                "IVA10",
                [
                    ("Tijera de podar", "Secateurs", Plain),
                    ("Serrucho de poda", "Pruning saw", Plain),
                    ("Cortasetos", "Hedge trimmer", Plain),
                    ("Hacha", "Axe", Plain),
                ],
            ),
            leaf(
                "LIB",
                "Libros y manuales",
                "Books & manuals",
                "IVA4",
                [
                    ("Manual de bricolaje", "DIY handbook", Plain),
                    ("Guía del huerto", "Kitchen garden guide", Plain),
                    ("Manual de electricidad", "Electrics handbook", Plain),
                    ("Guía de fontanería", "Plumbing guide", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "TOR",
        name: Name { es: "Tornillería y fijación", en: "Screws & fixings" },
        leaves: [
            leaf(
                "TRN",
                "Tornillos",
                "Screws",
                "IVA21",
                [
                    ("Tornillo para madera", "Wood screw", Box),
                    ("Tornillo rosca chapa", "Self-tapping screw", Box),
                    ("Tornillo hexagonal", "Hex bolt", Plain),
                    ("Espárrago roscado", "Threaded stud", Plain),
                ],
            ),
            leaf(
                "TUE",
                "Tuercas y arandelas",
                "Nuts & washers",
                "IVA21",
                [
                    ("Tuerca & arandela", "Nut & washer", Size),
                    ("Tuerca autoblocante", "Lock nut", Plain),
                    ("Arandela ala ancha", "Penny washer", Plain),
                    ("Tuerca de mariposa", "Wing nut", Plain),
                ],
            ),
            leaf(
                "TAC",
                "Tacos y anclajes",
                "Plugs & anchors",
                "IGIC3",
                [
                    ("Taco de nailon", "Nylon plug", Plain),
                    ("Anclaje metálico", "Metal anchor", Plain),
                    ("Anclaje químico", "Chemical anchor", Plain),
                    ("Taco basculante", "Toggle plug", Plain),
                ],
            ),
            leaf(
                "CLA",
                "Clavos y grapas",
                "Nails & staples",
                "IVA21",
                [
                    ("Clavo de acero", "Steel nail", Plain),
                    ("Grapa 53/8", "Staple 53/8", Plain),
                    ("Punta sin cabeza", "Finishing nail", Plain),
                    ("Alcayata", "Cup hook", Plain),
                ],
            ),
        ],
    },
    Branch {
        code: "SEG",
        name: Name { es: "Protección y seguridad", en: "Safety & security" },
        leaves: [
            leaf(
                "GUA",
                "Guantes",
                "Gloves",
                "IVA21",
                [
                    ("Guante de nitrilo", "Nitrile glove", Wear),
                    ("Guante de cuero", "Leather glove", Plain),
                    ("Guante anticorte", "Cut-resistant glove", Plain),
                    ("Guante desechable (100 uds.)", "Disposable glove (100 pcs)", Plain),
                ],
            ),
            leaf(
                "ROP",
                "Ropa de trabajo",
                "Workwear",
                "IVA21",
                [
                    ("Pantalón multibolsillos", "Cargo trousers", Wear),
                    ("Chaleco reflectante", "High-visibility vest", Plain),
                    ("Bota de seguridad S3", "Safety boot S3", Plain),
                    ("Casco de obra", "Hard hat", Plain),
                ],
            ),
            leaf(
                "CER",
                "Cerraduras",
                "Locks",
                "IVA21",
                [
                    ("Cilindro de alta seguridad", "High-security cylinder", Plain),
                    ("Candado de latón", "Brass padlock", Plain),
                    ("Cerrojo", "Door bolt", Plain),
                    ("Cierrapuertas", "Door closer", Plain),
                ],
            ),
            leaf(
                "EPI",
                "Protección respiratoria",
                "Breathing protection",
                "IVA4",
                [
                    ("Mascarilla FFP2", "FFP2 mask", Plain),
                    ("Semimáscara", "Half mask", Plain),
                    ("Filtro A2P3", "A2P3 filter", Plain),
                    ("Gafas de protección", "Safety goggles", Plain),
                ],
            ),
        ],
    },
];

/// Invented brands: the demo names no real goods.
pub const BRANDS: [&str; 8] = ["Ferrum", "Talavar", "Norvel", "Kamet", "Brisol", "Peñalba", "Órdago", "Cantal & Hijos"];
/// Lines of a brand: each noun has one article per line.
pub const LINES: [&str; 4] = ["Eco", "Plus", "Pro", "Élite"];

pub const COLOURS: [&str; 6] = ["Blanco", "Marfil", "Gris perla", "Azul añil", "Verde oliva", "Rojo teja"];
pub const TINS: [&str; 3] = ["750 ml", "4 l", "15 l"];
pub const SIZES: [&str; 5] = ["6 mm", "8 mm", "10 mm", "12 mm", "16 mm"];
pub const GARMENTS: [&str; 4] = ["S", "M", "L", "XL"];
pub const DYES: [&str; 2] = ["Negro", "Azul"];
pub const SCREWS: [&str; 4] = ["3,5 × 30", "4 × 40", "5 × 60", "6 × 80"];
pub const BOXES: [&str; 2] = ["Caja 100", "Caja 500"];

/// A format's values of the first and the second option.
pub type Values = (Option<&'static str>, Option<&'static str>);

/// How formats differ: names of the options, and each format's values.
pub type Axes = (Option<&'static str>, Option<&'static str>, Vec<Values>);

/// Options and values of an article with these formats, with `few` values of the first option.
#[must_use]
pub fn axes(formats: Formats, few: usize) -> Axes {
    let both = |first: &'static [&'static str], second: &'static [&'static str]| {
        first.iter().take(few).flat_map(|&one| second.iter().map(move |&other| (Some(one), Some(other)))).collect()
    };
    match formats {
        Plain => (None, None, vec![(None, None)]),
        Size => (Some("Medida"), None, SIZES.iter().take(few + 1).map(|&size| (Some(size), None)).collect()),
        Paint => (Some("Color"), Some("Formato"), both(&COLOURS, &TINS)),
        Wear => (Some("Talla"), Some("Color"), both(&GARMENTS, &DYES)),
        Box => (Some("Medida"), Some("Formato"), both(&SCREWS, &BOXES)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_shop_is_as_large_as_promised() {
        let leaves: Vec<&Leaf> = TREE.iter().flat_map(|branch| &branch.leaves).collect();
        assert_eq!(TREE.len() + leaves.len(), 40);
        let nouns: Vec<&Noun> = leaves.iter().flat_map(|leaf| &leaf.nouns).collect();
        assert!(nouns.len() * LINES.len() >= 500);
        assert!(nouns.iter().filter(|noun| noun.2 != Plain).count() * LINES.len() >= 60);
        let codes: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.code).chain(TREE.iter().map(|b| b.code)).collect();
        assert_eq!(codes.len(), 40);
        let taxes: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.tax).collect();
        assert_eq!(taxes.into_iter().collect::<Vec<_>>(), ["IGIC3", "IGIC7", "IVA10", "IVA21", "IVA4"]);
    }
}
